"""Data sets: lists, labels and class names in the formats people have; what is wrong with them; anchors for them; one that is made."""
