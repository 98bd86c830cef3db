"""Graphite's plaintext protocol for Headrace, both ways."""
