"""Pusher: publishes a blessed model as a served version."""
