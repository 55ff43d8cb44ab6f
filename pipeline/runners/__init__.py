"""The engines that can run the graph. No other package knows their flags."""
