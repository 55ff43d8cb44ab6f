"""ExampleGen for labelled images: class folders, tables, arrays, IDX files."""
