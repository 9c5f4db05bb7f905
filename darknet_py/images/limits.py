"""Limits of images, in a module without imports: the help of the command line names them and loads no numpy."""

MAX_PIXELS = 2**27  # of an image; decoding takes 10 bytes per pixel at its peak: 1.3 GB
MAX_BYTES = 1 << 28  # of a downloaded file
