"""DataGate: nothing is trained on data that is not what it should be."""
