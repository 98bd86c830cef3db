"""Headrace: metrics pipelines, a store and PromQL in one daemon."""
