"""How good a network is: mean average precision by three rules, accuracy, recall, result files, plots."""
