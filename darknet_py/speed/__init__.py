"""The same numbers sooner: fused networks, other engines, and what the time goes into."""
