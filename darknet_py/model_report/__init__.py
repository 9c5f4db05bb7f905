"""A report on a model as one HTML page: what its files are, and what programs agree about it."""
