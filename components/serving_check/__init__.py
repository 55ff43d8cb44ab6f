"""ServingCheck: the export, loaded in a clean process and asked golden questions."""
