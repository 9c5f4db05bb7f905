// Runs the parser as Gst-nvinfer does: run_parser FILE ROWS CLASSES WIDTH HEIGHT THRESHOLD. FILE has boxes [rows, 4] and
// scores [rows, classes] as floats. Prints the objects: class, left, top, width, height, confidence.
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "nvdsinfer_darknet.cpp"

int main(int, char **argv)
{
    unsigned int rows = std::atoi(argv[2]), classes = std::atoi(argv[3]);
    std::vector<float> values(rows * (4 + classes));
    std::ifstream(argv[1], std::ios::binary).read(reinterpret_cast<char *>(values.data()), values.size() * sizeof(float));
    NvDsInferLayerInfo scores{}, boxes{};
    boxes.layerName = "boxes";
    boxes.inferDims = {2, {rows, 4}, rows * 4};
    boxes.buffer = values.data();
    scores.layerName = "scores";
    scores.inferDims = {2, {rows, classes}, rows * classes};
    scores.buffer = values.data() + rows * 4;
    unsigned int configured = argv[7] ? std::atoi(argv[7]) : classes;
    NvDsInferParseDetectionParams params{configured, std::vector<float>(configured, std::atof(argv[6])), {}};
    NvDsInferNetworkInfo network{(unsigned int)std::atoi(argv[4]), (unsigned int)std::atoi(argv[5]), 3};
    std::vector<NvDsInferObjectDetectionInfo> objects;
    if (!NvDsInferParseDarknet({scores, boxes}, network, params, objects)) {
        return 1;
    }
    for (auto const &each : objects) {
        std::printf("%u %.9g %.9g %.9g %.9g %.9g\n", each.classId, each.left, each.top, each.width, each.height,
                    each.detectionConfidence);
    }
}
