"""Reading videos, cameras and streams, and writing annotated videos."""
