"""State of streams, for processors that remember what came before: slots, rows, order, and snapshots by identity."""
