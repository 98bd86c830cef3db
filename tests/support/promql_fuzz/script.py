"""Write a case as a test script: the series that it needs, and what the peer answers."""

from __future__ import annotations

import json
import math
import struct
from functools import reduce
from typing import TYPE_CHECKING, Any

from headrace.testing.promql_script_histograms import Histogram
from headrace.testing.promql_script_values import STALE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prometheus_oracle import Series
    from promql_fuzz.cases import Query

_STALE_BITS = struct.pack(">d", STALE)


def written(series: Sequence[Series], query: Query, theirs: Mapping[str, Any]) -> str:
    """Return a test script."""
    lines = ["clear", "", *_load(series), "", _head(query)]
    lines += [f"  {line}" for line in _expected(query, theirs)]
    return "\n".join(lines) + "\n"


def _duration(ms: int) -> str:
    return f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms}ms"


def _head(query: Query) -> str:
    text = " ".join(query.text.split())
    if not query.step_ms:
        return f"eval instant at {_duration(query.start_ms)} {text}"
    start, end, step = (_duration(ms) for ms in (query.start_ms, query.end_ms, query.step_ms))
    return f"eval range from {start} to {end} step {step} {text}"


def _load(series: Sequence[Series]) -> list[str]:
    times = sorted({time_ms for one in series for time_ms, _ in one.points})
    step_ms = reduce(math.gcd, times, 0) or 1000
    return [f"load {_duration(step_ms)}", *(f"  {_name(one.labels)} {_items(one, step_ms)}" for one in series)]


def _name(labels: Mapping[str, str]) -> str:
    name = labels.get("__name__", "")
    rest = [f"{_quoted_name(label)}={_quoted(value)}" for label, value in sorted(labels.items()) if label != "__name__"]
    if name and _is_plain(name):
        return f"{name}{{{','.join(rest)}}}" if rest else name
    return "{" + ",".join([*([_quoted(name)] if name else []), *rest]) + "}"


def _is_plain(name: str) -> bool:
    return name.isascii() and name.replace(":", "_").isidentifier()


def _quoted_name(name: str) -> str:
    return name if _is_plain(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _items(series: Series, step_ms: int) -> str:
    items: list[str] = []
    at = 0
    for time_ms, value in series.points:
        gap = time_ms // step_ms - at
        if gap:
            items.append(f"_x{gap}" if gap > 1 else "_")
        items.append(_value(value))
        at = time_ms // step_ms + 1
    return " ".join(items)


def _value(value: float | Histogram) -> str:
    if isinstance(value, Histogram):
        return str(value)
    if math.isnan(value):
        return "stale" if struct.pack(">d", value) == _STALE_BITS else "NaN"
    return repr(value)


# -- what is expected ------------------------------------------------------------------------------------------


def _expected(query: Query, theirs: Mapping[str, Any]) -> list[str]:
    if theirs["status"] == "error":
        return [f"expect fail msg: {theirs['error']}"]
    lines = [*_notes("warn", theirs.get("warnings", [])), *_notes("info", theirs.get("infos", []))]
    data = theirs["data"]
    match data["resultType"]:
        case "scalar":
            return [*lines, data["result"][1]]
        case "string":
            return [f"expect string {_quoted(data['result'][1])}"]
        case "vector":
            return [*lines, *(f"{_name(row['metric'])} {_point(row)}" for row in data["result"])]
        case _ if query.step_ms:
            return [*lines, *(f"{_name(row['metric'])} {_steps(query, row)}" for row in data["result"])]
        case _:
            return [*lines, *(f"# {json.dumps(row)}" for row in data["result"])]


def _notes(kind: str, notes: Sequence[str]) -> list[str]:
    return [f"expect {kind} msg: {note}" for note in sorted(notes)] or [f"expect no_{kind}"]


def _point(row: Mapping[str, Any]) -> str:
    return str(row["value"][1]) if "value" in row else _shown_histogram(row["histogram"][1])


def _steps(query: Query, row: Mapping[str, Any]) -> str:
    found = {round(time * 1000): str(value) for time, value in row.get("values", [])}
    found |= {round(time * 1000): _shown_histogram(value) for time, value in row.get("histograms", [])}
    return " ".join(found.get(t, "_") for t in range(query.start_ms, query.end_ms + 1, query.step_ms))


def _shown_histogram(found: Mapping[str, Any]) -> str:
    """Write a histogram of the API in the notation of scripts, as far as its buckets tell the schema."""
    count, total = float(found["count"]), float(found["sum"])
    buckets = [(rule, float(low), float(high), float(n)) for rule, low, high, n in found.get("buckets", [])]
    zero = next(((high, n) for _, low, high, n in buckets if low == -high and low <= 0), (0.0, 0.0))
    rest = [bucket for bucket in buckets if bucket[1] != -bucket[2]]
    spread = next((math.log2(high / low) for _, low, high, _ in rest if low * high > 0 and math.isfinite(high)), 0.0)
    if not spread or any(rule == 0 and low <= 0 < high for rule, low, high, _ in rest):
        return f"{{{{count:{count!r} sum:{total!r}}}}} # {json.dumps(found)}"
    schema = round(-math.log2(abs(spread)))
    size = 2.0**-schema
    signs: list[dict[int, float]] = [{}, {}]
    for _, low, high, n in rest:
        signs[int(high <= 0)][round(math.log2(max(abs(low), abs(high))) / size)] = n
    return str(
        Histogram(
            schema=schema, count=count, sum=total, zero_threshold=zero[0], zero_count=zero[1],
            positive=signs[0], negative=signs[1],
        )
    )  # fmt: skip
