"""Compare two models layer by layer: this package, ONNX Runtime, OpenCV and C Darknet."""
