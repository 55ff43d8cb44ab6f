"""ServingCheck: loads the export in a clean process and compares its answers."""
