"""What training sees: images changed as Darknet changes them, and batches that depend on seed and iteration alone."""
