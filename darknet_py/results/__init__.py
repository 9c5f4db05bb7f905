"""Detection results: boxes, the Results object and its text and JSON formats."""
