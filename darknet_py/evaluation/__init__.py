"""Evaluation of networks: mAP by three protocols, accuracy, recall, result files, plots."""
