"""Tuner: searches for the hyperparameters that Trainer then takes."""
