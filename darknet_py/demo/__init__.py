"""A small synthetic data set of handwritten digits for machines without network access."""
