"""Blocks that Prometheus wrote, read without Prometheus: meta, index, chunks, tombstones."""
