"""Additional code for nodes on a cluster."""
