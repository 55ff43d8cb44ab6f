"""StatisticsGen without a shuffle."""
