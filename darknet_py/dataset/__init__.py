"""Data sets: lists, labels and class names in the usual formats; what is wrong with them; anchors; one that is made."""
