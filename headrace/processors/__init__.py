"""Processors: one component, one module or package."""
