"""Reading, resizing and drawing images, and expanding the image sources of the command line."""
