"""Commands, and the only place that wires everything together."""
