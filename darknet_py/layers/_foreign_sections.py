"""Sections of programs that use Darknet's format for networks of their own, and what they are."""

from __future__ import annotations

_YOLOV5 = "a YOLOv5 conversion (enazoe/yolo-tensorrt and others): export the YOLOv5 model itself"
_YOLOR = "WongKinYiu's PyTorch code (YOLOR, PyTorch_YOLOv4)"
FOREIGN_SECTIONS = {
    **dict.fromkeys(("Focus", "focus", "C3", "BottleneckCSP", "SPPF", "SPP", "Detect"), _YOLOV5),
    **dict.fromkeys(("implicit_cat", "implicit_add_2d", "implicit_mul_2d", "implicit_cat_2d"), _YOLOR),
    **dict.fromkeys(("shift_channels_2d", "control_channels_2d", "deformableconvolutional"), _YOLOR),
    **dict.fromkeys(("alternate_channels", "alternate_channels_2d", "select_channels"), _YOLOR),
    **dict.fromkeys(("select_channels_2d", "dwt", "jde", "BatchNorm2d"), _YOLOR),
}
