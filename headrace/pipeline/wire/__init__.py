"""Wire formats, one a module: bytes to columns and back."""
