"""Configurations of other programs as ours, with a list of what could not be carried over."""
