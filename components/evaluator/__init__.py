"""Evaluator: what TFMA measures, held to the answers that it measured."""
