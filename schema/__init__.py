"""The curated data contract, `schema.pbtxt`."""
