"""Evaluator: the candidate against its gates and against the model now served."""
