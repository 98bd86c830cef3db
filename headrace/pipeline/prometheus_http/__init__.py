"""What Prometheus calls `http_config`: HTTP clients with its options."""
