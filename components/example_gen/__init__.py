"""ExampleGen for IDX files."""
