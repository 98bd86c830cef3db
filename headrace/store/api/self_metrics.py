"""The daemon's own metrics as JSON, ``/api/v1/status/self_metrics``.

Source:
    Prometheus, ``io.prometheus.client.MetricFamily`` in the JSON form of Protocol Buffers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.regex import regex
from headrace.store.api.errors import ApiError

if TYPE_CHECKING:
    from headrace.pipeline.counters import Counters, Instrument

_TOTAL = "_total"


def families(counters: Counters | None, pattern: str) -> list[dict[str, Any]]:
    """Return metric families in order of names.

    Args:
        counters: What is measured; None for nothing.
        pattern: RE2 pattern that a whole name has to match; empty for all.

    Raises:
        ApiError: The pattern does not compile.
    """
    try:
        wanted = regex(pattern or ".*")
    except InvalidInput as error:
        raise ApiError("bad_data", f"invalid metric_name_pattern: {error}") from None
    named = {_name(one): one for one in counters.instruments.values()} if counters is not None else {}
    return [_family(name, named[name]) for name in sorted(named) if wanted.fullmatch(name)]


def _name(instrument: Instrument) -> str:
    """Return the name that ``/metrics`` has: that of a counter ends in ``_total``."""
    return instrument.name.removesuffix(_TOTAL) + _TOTAL if instrument.monotonic else instrument.name


def _family(name: str, instrument: Instrument) -> dict[str, Any]:
    kind = "counter" if instrument.monotonic else "gauge"
    points = [
        {
            "label": [{"name": label, "value": value} for label, value in sorted(attributes.items())],
            kind: {"value": _number(value)},
        }
        for attributes, value in instrument.read()
    ]
    return {"name": name, "help": instrument.description, "type": kind.upper(), "metric": points}


def _number(value: float) -> float | str:
    """Return a number; JSON has no other way than text for those that are none."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
