"""What nodes need on a cluster beyond what they need on one machine."""
