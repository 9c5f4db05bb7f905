"""Network slimming: remove channels and residual units, and write a smaller cfg with its weights."""
