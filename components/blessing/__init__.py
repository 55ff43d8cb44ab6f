"""Blessing: the verdict on a model, from all evaluations."""
