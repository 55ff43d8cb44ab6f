"""The PostgreSQL database of `metadata.uri`: where it is, whose it is, and its locks."""
