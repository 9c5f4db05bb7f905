"""Detection heads, with their target assignment and losses."""
