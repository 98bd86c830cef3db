"""Compiled code that depends on nothing else of ours."""
