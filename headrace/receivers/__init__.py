"""Receivers: one component, one module or package."""
