"""Tuner: searches for hyperparameters for Trainer."""
