"""Data sets: image lists, label files and annotation formats, their checks, and anchors."""
