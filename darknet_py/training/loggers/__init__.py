"""Where the numbers of a training run go: a CSV file, a chart, TensorBoard, MLflow, Weights & Biases."""
