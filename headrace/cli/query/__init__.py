"""``headrace query``: questions to any server that speaks Prometheus' HTTP API."""
