"""A program that runs queries until it is killed; for tests of what is left behind."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from headrace.store.api.active_queries import NAME, ActiveQueries
from headrace.store.api.pool import About


def main() -> None:
    """Begin three queries, end one, say so and wait."""
    active = ActiveQueries(Path(sys.argv[1]) / NAME, 4, lambda: 1_700_000_000.5)
    over = active.begin(About("up", 1, 1, 0), "default")
    active.begin(About("rate(m[5m])", 1000, 2000, 10), "default")
    active.begin(About("x" * 3000 + "\u00e4", 1000, 2000, 10), "other")
    over()
    print("ready", flush=True)  # noqa: T201 -- what the test waits for
    time.sleep(60)


if __name__ == "__main__":
    main()
