"""A small synthetic data set of handwritten digits, for a first training run without a download."""
