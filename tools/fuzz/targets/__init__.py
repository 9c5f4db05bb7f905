"""The readers that are fuzzed, by kind of file."""

from .base import Target
from .datasets import Coco, Cvat, Dataset, DataYaml, ImageList, LabelMe, Labels, LabelStudio, Names, Voc
from .media import Images, Video
from .models import Cfg, Checkpoint, Onnx, TrainingState, Weights

TARGETS: dict[str, type[Target]] = {
    "cfg": Cfg,
    "weights": Weights,
    "checkpoint": Checkpoint,
    "state": TrainingState,
    "labels": Labels,
    "data": Dataset,
    "list": ImageList,
    "yaml": DataYaml,
    "names": Names,
    "coco": Coco,
    "voc": Voc,
    "cvat": Cvat,
    "labelme": LabelMe,
    "label-studio": LabelStudio,
    "image": Images,
    "video": Video,
    "onnx": Onnx,
}
