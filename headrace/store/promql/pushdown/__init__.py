"""Aggregations computed while the series are read."""
