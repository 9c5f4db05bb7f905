"""int8 files for ONNX Runtime and OpenVINO: calibration, quantisation, and which layers stay in float."""
