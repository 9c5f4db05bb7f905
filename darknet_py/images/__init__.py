"""Reading, resizing and drawing images, and expanding the image sources given on the command line."""
