"""Moving pictures: frames of files, cameras and streams, and files with boxes on every frame."""
