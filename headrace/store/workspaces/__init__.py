"""Tenants: one engine and one series table each."""
