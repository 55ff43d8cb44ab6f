"""The final node on a cluster: the review page and the receipt, made from the artifacts alone."""
