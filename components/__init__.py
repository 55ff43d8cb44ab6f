"""Code of the pipeline's nodes; workers install it as a package."""
