"""Measures speed, accuracy, cost and growth, each by `python -m benchmarks.NAME --help`."""

import os

# Before TensorFlow is imported, here and in the processes that measure: Transform's Keras layer
# would otherwise turn Keras back to version 2.
os.environ["TF_USE_LEGACY_KERAS"] = "0"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
