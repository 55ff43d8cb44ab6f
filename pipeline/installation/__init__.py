"""Installs the libraries of a lock into `.venv`. Standard library alone."""
