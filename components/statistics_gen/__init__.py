"""StatisticsGen without Beam."""
