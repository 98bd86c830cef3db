"""What the operating system allows a daemon."""

from __future__ import annotations

import contextlib
import resource


def raise_open_files() -> None:
    """Take all the open files that this process may have: each scrape target and each sender holds a connection.

    Systems set a low limit for programs that use ``select``, which this one does not, and a high one that whoever wants
    can have.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Some systems allow less than they say; then it stays as it is.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
