"""Headers of the requests that points come in, as receivers with ``include_metadata`` keep them with their batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def metadata_of(pairs: Iterable[tuple[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return headers by lower-case name, for those who come after; values that are no text are left out."""
    out: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if isinstance(value, str):
            out[name.lower()] = (*out.get(name.lower(), ()), value)
    return out
