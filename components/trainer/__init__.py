"""Trainer: the network, its augmentation, its training and its export."""
