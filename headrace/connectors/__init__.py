"""Connectors: one component, one module or package."""
