"""Measures speed, accuracy, cost and growth, each by `python -m benchmarks.NAME --help`."""

from components import environment

# Before TensorFlow is imported, here and in the processes that measure.
environment.enter(log_level="2")
