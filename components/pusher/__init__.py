"""Pusher: a blessed model becomes a served version."""
