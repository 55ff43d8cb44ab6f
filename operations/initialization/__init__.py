"""The `init` command: looks at data, and writes a schema and a configuration file for it."""
