"""Where images come from: find, download, sample, spans, checks."""

# What `--data` takes beside a folder.
AUTO = "auto"
SAMPLE = "sample"
