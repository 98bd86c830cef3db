"""Encodings of timestamps and values, one a module, their kernels beside them."""
