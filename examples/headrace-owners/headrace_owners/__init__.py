"""Says who owns a metric, for Headrace."""
