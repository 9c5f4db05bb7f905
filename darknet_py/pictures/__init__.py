"""Pictures: read, resized as Darknet does it, drawn on; and what names on a command line stand for."""
