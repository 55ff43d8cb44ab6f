"""What happened: receipts, ML Metadata, history, digests. No TensorFlow at import."""
