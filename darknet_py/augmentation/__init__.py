"""What training sees: pictures changed as Darknet changes them, and batches that depend on seed and iteration alone."""
