"""Export to ONNX: the model, NMS as ONNX nodes, and graph clean-up."""
