"""Fused networks, inference engines and benchmarks."""
