"""Export to ONNX, torch.export and OpenVINO, with verification against the network."""
