"""Kill processes that write files, and check what they leave."""
