"""Readers of the forms that labelled images come in, a module each."""
