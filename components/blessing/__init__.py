"""Blessing: one verdict out of several evaluations."""
