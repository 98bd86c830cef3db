"""``headrace promql``: work on the text of queries, without a server."""
