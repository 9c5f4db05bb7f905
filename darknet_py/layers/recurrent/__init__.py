"""Layers that keep a state between calls."""
