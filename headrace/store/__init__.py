"""The embedded time-series store and everything that serves it."""
