"""Compare two models, files or runtimes layer by layer."""
