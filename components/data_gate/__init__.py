"""DataGate: stops a run before it trains on bad data."""
