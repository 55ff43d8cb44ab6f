"""What happens around the graph: locks, runs, displays, predictions."""
