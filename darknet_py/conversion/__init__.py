"""The same network for others: checkpoints, folded norms, ONNX, torch.export, OpenVINO, OpenCV's interface."""
