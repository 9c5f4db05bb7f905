// Detect objects with a file of `darknet-py export ... --heads boxes` in ONNX Runtime, without Python:
//
//   detect MODEL.onnx IMAGE [THRESHOLD [IOU]]
//
// prints a line for each object: confidence, left, top, right, bottom in pixels of the image, class. Resizing and NMS
// are Darknet's, so that the boxes are those of `darknet-py detect`. How images are resized, the kind of NMS, the
// thresholds and the names of the classes are in the file's metadata.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <onnxruntime_cxx_api.h>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

struct Box {  // centre and size
    float x, y, w, h;
};

struct Detection {
    Box box;
    float score;
    int number;
};

// Planes of an image, RGB in 0..1: values[(plane * height + row) * width + column].
struct Planes {
    int width, height;
    std::vector<float> values;
    Planes(int width, int height, float value = 0) : width(width), height(height), values(3 * width * height, value) {}
    float *row(int plane, int y) { return &values[(size_t(plane) * height + y) * width]; }
    const float *row(int plane, int y) const { return &values[(size_t(plane) * height + y) * width]; }
};

// Bilinear with aligned corners, columns before rows: resize_image of Darknet.
static Planes resize(const Planes &image, int width, int height)
{
    if (image.width == width && image.height == height) {
        return image;
    }
    Planes part(width, image.height), result(width, height);
    const float w_scale = width > 1 ? float(image.width - 1) / (width - 1) : 0;
    const float h_scale = height > 1 ? float(image.height - 1) / (height - 1) : 0;
    for (int k = 0; k < 3; ++k) {
        for (int y = 0; y < image.height; ++y) {
            const float *in = image.row(k, y);
            float *out = part.row(k, y);
            for (int x = 0; x < width; ++x) {
                if (x == width - 1 || image.width == 1) {
                    out[x] = in[image.width - 1];
                    continue;
                }
                const float position = x * w_scale;
                const int low = int(position);
                const float weight = position - low;
                out[x] = (1 - weight) * in[low] + weight * in[low + 1];
            }
        }
        for (int y = 0; y < height; ++y) {
            const float position = height > 1 ? y * h_scale : image.height - 1;
            const int low = int(position);
            const float weight = position - low;
            const float *upper = part.row(k, low);
            float *out = result.row(k, y);
            for (int x = 0; x < width; ++x) {
                out[x] = (1 - weight) * upper[x];
            }
            if (y == height - 1 || image.height == 1) {
                continue;
            }
            const float *lower = part.row(k, low + 1);
            for (int x = 0; x < width; ++x) {
                out[x] += weight * lower[x];
            }
        }
    }
    return result;
}

// The size of an image inside a letterbox.
static std::array<int, 2> inner_size(const Planes &image, int width, int height)
{
    if (float(width) / image.width < float(height) / image.height) {
        return {width, image.height * width / image.width};
    }
    return {image.width * height / image.height, height};
}

// The image with its aspect ratio, centred on grey.
static Planes letterbox(const Planes &image, int width, int height)
{
    const auto [inner_width, inner_height] = inner_size(image, width, height);
    const Planes inner = resize(image, inner_width, inner_height);
    const int left = (width - inner_width) / 2, top = (height - inner_height) / 2;
    Planes result(width, height, 0.5f);
    for (int k = 0; k < 3; ++k) {
        for (int y = 0; y < inner_height; ++y) {
            std::copy_n(inner.row(k, y), inner_width, result.row(k, top + y) + left);
        }
    }
    return result;
}

static Planes read_image(const std::string &path)
{
    cv::Mat image = cv::imread(path, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
    if (image.empty()) {
        throw std::runtime_error(path + ": expected an image");
    }
    Planes planes(image.cols, image.rows);
    for (int y = 0; y < image.rows; ++y) {
        for (int x = 0; x < image.cols; ++x) {
            for (int k = 0; k < 3; ++k) {
                planes.row(k, y)[x] = image.at<cv::Vec3b>(y, x)[2 - k] / 255.0f;  // OpenCV has blue first
            }
        }
    }
    return planes;
}

// IoU; with an exponent above 0, less the distance term of DIoU: (distance of the centres^2 / diagonal^2)^exponent.
static float overlap(const Box &a, const Box &b, float exponent)
{
    const auto low = [](float centre, float size) { return centre - size / 2; };
    const auto high = [](float centre, float size) { return centre + size / 2; };
    const float width = std::min(high(a.x, a.w), high(b.x, b.w)) - std::max(low(a.x, a.w), low(b.x, b.w));
    const float height = std::min(high(a.y, a.h), high(b.y, b.h)) - std::max(low(a.y, a.h), low(b.y, b.h));
    const float shared = std::max(width, 0.0f) * std::max(height, 0.0f);
    const float all = a.w * a.h + b.w * b.h - shared;
    const float iou = shared == 0 || all == 0 ? 0 : shared / all;
    const float outer_width = std::max(high(a.x, a.w), high(b.x, b.w)) - std::min(low(a.x, a.w), low(b.x, b.w));
    const float outer_height = std::max(high(a.y, a.h), high(b.y, b.h)) - std::min(low(a.y, a.h), low(b.y, b.h));
    const float diagonal = outer_width * outer_width + outer_height * outer_height;
    const float distance = (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y);
    return exponent == 0 || diagonal == 0 ? iou : iou - std::pow(distance / diagonal, exponent);
}

// Of each class, keep the boxes that no better one overlaps by more than the threshold.
static std::vector<Detection> nms(std::vector<Detection> found, float threshold, float exponent)
{
    std::stable_sort(found.begin(), found.end(), [](auto &a, auto &b) { return a.score > b.score; });
    std::vector<Detection> kept;
    for (const Detection &each : found) {
        const bool is_covered = threshold > 0 && std::any_of(kept.begin(), kept.end(), [&](const Detection &better) {
            return better.number == each.number && overlap(better.box, each.box, exponent) > threshold;
        });
        if (!is_covered) {
            kept.push_back(each);
        }
    }
    return kept;
}

// The file's metadata, written by `darknet-py export`.
class Metadata {
public:
    explicit Metadata(const Ort::Session &session) : metadata_(session.GetModelMetadata()) {}

    std::string text(const char *key) const
    {
        Ort::AllocatorWithDefaultOptions allocator;
        char *value = nullptr;
        Ort::ThrowOnError(Ort::GetApi().ModelMetadataLookupCustomMetadataMap(metadata_, allocator, key, &value));
        if (!value) {
            throw std::runtime_error(std::string("expected a file of darknet-py export: there is no metadata ") + key);
        }
        std::string result(value);
        allocator.Free(value);
        return result;
    }

    // The strings of a JSON list of strings.
    std::vector<std::string> names() const
    {
        std::vector<std::string> result;
        const std::string json = text("names");
        bool is_inside = false;
        for (size_t i = 0; i < json.size(); ++i) {
            if (json[i] == '"') {
                is_inside = !is_inside;
                if (is_inside) {
                    result.emplace_back();
                }
            } else if (is_inside) {
                if (json[i] == '\\') {
                    ++i;
                }
                result.back() += json[i];
            }
        }
        return result;
    }

    // The exponent of the distance term of NMS; 0: plain IoU. That of the last head, as in Darknet.
    float exponent() const
    {
        const std::string heads = text("head_options");
        const std::string head = heads.substr(heads.rfind("\"nms_kind\""));
        if (head.find("\"greedynms\"") != std::string::npos) {
            return 0.6f;
        }
        if (head.find("\"diounms\"") == std::string::npos) {
            return 0;
        }
        const std::string key = "\"beta_nms\": ";
        return std::stof(head.substr(head.find(key) + key.size()));
    }

private:
    Ort::ModelMetadata metadata_;
};

static void detect(int count, char **arguments)
{
    Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "detect");
    Ort::Session session(env, arguments[1], Ort::SessionOptions());
    const Metadata metadata(session);
    if (metadata.text("heads") != "boxes") {
        throw std::runtime_error("expected a file of --heads boxes, found one of --heads " + metadata.text("heads"));
    }
    const float threshold = std::stof(count > 3 ? arguments[3] : metadata.text("threshold"));
    const float iou = std::stof(count > 4 ? arguments[4] : metadata.text("nms"));
    const Ort::TypeInfo type = session.GetInputTypeInfo(0);
    std::vector<int64_t> shape = type.GetTensorTypeAndShapeInfo().GetShape();
    if (shape.size() != 4 || shape[1] != 3 || shape[2] < 1 || shape[3] < 1) {
        throw std::runtime_error("expected a model for images of one size and three channels");
    }
    const int width = int(shape[3]), height = int(shape[2]);
    shape[0] = 1;

    const Planes image = read_image(arguments[2]);
    const bool is_letterboxed = metadata.text("resize") == "letterbox";
    Planes input = is_letterboxed ? letterbox(image, width, height) : resize(image, width, height);
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    Ort::Value tensor =
        Ort::Value::CreateTensor<float>(memory, input.values.data(), input.values.size(), shape.data(), shape.size());
    const char *inputs[] = {"input"}, *outputs[] = {"boxes", "scores"};
    auto results = session.Run(Ort::RunOptions(), inputs, &tensor, 1, outputs, 2);

    const auto sizes = results[1].GetTensorTypeAndShapeInfo().GetShape();  // [1, n, classes]
    const float *boxes = results[0].GetTensorData<float>(), *scores = results[1].GetTensorData<float>();
    const auto inner = is_letterboxed ? inner_size(image, width, height) : std::array<int, 2>{width, height};
    const float x_scale = float(width) / inner[0], y_scale = float(height) / inner[1];
    const float x_offset = (width - inner[0]) / 2.0f / width, y_offset = (height - inner[1]) / 2.0f / height;
    std::vector<Detection> found;
    for (int64_t i = 0; i < sizes[1]; ++i) {
        const float *box = boxes + 4 * i, *score = scores + sizes[2] * i;
        for (int64_t number = 0; number < sizes[2]; ++number) {
            if (score[number] > threshold) {
                const Box relative{(box[0] - x_offset) * x_scale, (box[1] - y_offset) * y_scale, box[2] * x_scale,
                                   box[3] * y_scale};
                found.push_back({relative, score[number], int(number)});
            }
        }
    }
    const std::vector<std::string> names = metadata.names();
    for (const Detection &each : nms(found, iou, metadata.exponent())) {
        const Box &box = each.box;
        const float w = float(image.width), h = float(image.height);
        const std::string number = std::to_string(each.number);
        const std::string name = size_t(each.number) < names.size() ? names[each.number] : number;
        std::printf("%.5f %.3f %.3f %.3f %.3f %s\n", each.score, (box.x - box.w / 2) * w, (box.y - box.h / 2) * h,
                    (box.x + box.w / 2) * w, (box.y + box.h / 2) * h, name.c_str());
    }
}

int main(int count, char **arguments)
{
    if (count < 3) {
        std::fprintf(stderr, "usage: detect MODEL.onnx IMAGE [THRESHOLD [IOU]]\n");
        return 2;
    }
    try {
        detect(count, arguments);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "detect: %s\n", error.what());
        return 1;
    }
    return 0;
}
