"""Hyperparameter search: trials of a cfg with other values, chosen by Optuna."""
