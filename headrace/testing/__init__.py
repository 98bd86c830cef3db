"""Public test kit: contracts that every component and codec is tested by."""
