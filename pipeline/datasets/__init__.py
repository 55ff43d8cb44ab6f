"""Where images come from: find, download, sample, spans, checks."""
