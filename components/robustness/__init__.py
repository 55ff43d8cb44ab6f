"""Robustness: the test images once more, corrupted."""
