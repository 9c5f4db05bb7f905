// The bounding box parser of DeepStream's Gst-nvinfer for detectors of `darknet-py export --deepstream`.
//
//   DS=/opt/nvidia/deepstream/deepstream/sources/includes CUDA=/usr/local/cuda/include
//   g++ -std=c++17 -O2 -Wall -shared -fPIC -I $DS -I $CUDA nvdsinfer_darknet.cpp -o libnvdsinfer_darknet.so
//
// The network has two outputs for each frame: boxes [n, 4], centre and size relative to the input, and scores
// [n, classes], the probability of each class. Gst-nvinfer applies NMS afterwards (cluster-mode=2), for which a box
// with several classes is an object of each, as in Darknet.

#include <algorithm>
#include <cstring>
#include <iostream>
#include <vector>

#include "nvdsinfer_custom_impl.h"

extern "C" bool NvDsInferParseDarknet(std::vector<NvDsInferLayerInfo> const &outputLayersInfo,
                                      NvDsInferNetworkInfo const &networkInfo,
                                      NvDsInferParseDetectionParams const &detectionParams,
                                      std::vector<NvDsInferObjectDetectionInfo> &objectList);

static const NvDsInferLayerInfo *find(std::vector<NvDsInferLayerInfo> const &layers, const char *name)
{
    for (auto const &layer : layers) {
        if (std::strcmp(layer.layerName, name) == 0 && layer.dataType == FLOAT && layer.inferDims.numDims == 2) {
            return &layer;
        }
    }
    std::cerr << "NvDsInferParseDarknet: expected an output " << name << " [n, ...] of floats" << std::endl;
    return nullptr;
}

extern "C" bool NvDsInferParseDarknet(std::vector<NvDsInferLayerInfo> const &outputLayersInfo,
                                      NvDsInferNetworkInfo const &networkInfo,
                                      NvDsInferParseDetectionParams const &detectionParams,
                                      std::vector<NvDsInferObjectDetectionInfo> &objectList)
{
    const NvDsInferLayerInfo *boxes = find(outputLayersInfo, "boxes");
    const NvDsInferLayerInfo *scores = find(outputLayersInfo, "scores");
    if (!boxes || !scores) {
        return false;
    }
    const unsigned int count = boxes->inferDims.d[0];
    const unsigned int classes = scores->inferDims.d[1];
    if (boxes->inferDims.d[1] != 4 || scores->inferDims.d[0] != count || classes != detectionParams.numClassesConfigured) {
        std::cerr << "NvDsInferParseDarknet: expected boxes [n, 4] and scores [n, num-detected-classes], found boxes ["
                  << count << ", " << boxes->inferDims.d[1] << "] and scores [" << scores->inferDims.d[0] << ", "
                  << classes << "] for num-detected-classes=" << detectionParams.numClassesConfigured << std::endl;
        return false;
    }
    const float width = static_cast<float>(networkInfo.width), height = static_cast<float>(networkInfo.height);
    const float *box = static_cast<const float *>(boxes->buffer);
    const float *score = static_cast<const float *>(scores->buffer);
    for (unsigned int i = 0; i < count; ++i, box += 4, score += classes) {
        for (unsigned int c = 0; c < classes; ++c) {
            if (!(score[c] > detectionParams.perClassPreclusterThreshold[c])) {
                continue;
            }
            const float left = std::clamp((box[0] - box[2] / 2) * width, 0.0f, width);
            const float top = std::clamp((box[1] - box[3] / 2) * height, 0.0f, height);
            const float right = std::clamp((box[0] + box[2] / 2) * width, 0.0f, width);
            const float bottom = std::clamp((box[1] + box[3] / 2) * height, 0.0f, height);
            if (!(right > left && bottom > top)) {
                continue;
            }
            NvDsInferObjectDetectionInfo object{};
            object.classId = c;
            object.left = left;
            object.top = top;
            object.width = right - left;
            object.height = bottom - top;
            object.detectionConfidence = score[c];
            objectList.push_back(object);
        }
    }
    return true;
}

CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(NvDsInferParseDarknet);
