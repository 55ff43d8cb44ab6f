"""Runs on a schedule: when they are due, and what happens where one goes wrong."""
