"""Memory that the process no longer needs."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give free pages in the middle of the heap back to the system.

    The first sight of many series, or a time of much load, leaves the heap with holes: glibc gives back what is free at
    its end and keeps the rest. This takes milliseconds; other C libraries do without.

    Source:
        glibc manual, ``malloc_trim(3)``.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
