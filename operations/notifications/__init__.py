"""Whom to tell how a run ended, and the metrics of runs."""
