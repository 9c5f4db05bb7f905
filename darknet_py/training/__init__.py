"""The recipe of ``[net]``: gradients, updates, the run, its checkpoints, several processes."""
