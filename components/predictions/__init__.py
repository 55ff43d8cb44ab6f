"""Predictions: what the models answer to each test image, for the review."""
