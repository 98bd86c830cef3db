"""Principals and how requests prove who they come from."""
