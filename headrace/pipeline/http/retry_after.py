"""When a server asks to be asked again.

Source:
    RFC 9110, section 10.2.3: seconds, or a date.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

MAX_WAIT_S = 24 * 3600.0
"""Longest wait that a server is granted."""


def retry_after_s(header: str, now_ns: int) -> float:
    """Return the seconds to wait that a ``Retry-After`` header asks for; 0 where it asks for none.

    Args:
        header: Its value, empty without one.
        now_ns: Unix time.
    """
    header = header.strip()
    if header.isascii() and header.isdecimal():
        return min(float(header), MAX_WAIT_S)
    try:
        until_s = parsedate_to_datetime(header).timestamp() if header else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, until_s - now_ns / 1e9), MAX_WAIT_S)
