"""What runs inside the nodes of the pipeline; installed on workers as a package."""
