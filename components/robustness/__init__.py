"""Robustness: writes corrupted copies of the test images."""
