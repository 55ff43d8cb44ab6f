"""Installs the libraries of a lock file into `.venv`. Uses only the standard library."""
