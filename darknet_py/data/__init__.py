"""Data sets: image lists, labels and annotation formats, checks, and anchors."""
