"""Exporters: one component, one module or package."""
