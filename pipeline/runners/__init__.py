"""The engines that can run the graph; the only place that knows their flags."""
