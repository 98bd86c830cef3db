"""Samples as lines: for people, and as JSON for programs. What looks like a secret is not shown."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from headrace.pipeline.batch import NS_PER_MS, Flag
from headrace.pipeline.config.model import REDACTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable

_SECRET_NAME = re.compile(r"secret|passw|token|credential|authorization|api_?key", re.IGNORECASE)
_USER_IN_URL = re.compile(r"://[^/@\s]+@")


def samples(edge: str, batch: MetricBatch) -> Iterator[dict[str, Any]]:
    """Yield what is known of each point: edge, series, labels, time, and value or count and sum."""
    table = batch.table
    columns = zip(
        batch.series.tolist(), batch.time_ns.tolist(), batch.value.tolist(), batch.flags.tolist(), strict=True
    )
    for series, time_ns, value, flags in columns:
        stale = bool(flags & Flag.STALE)
        yield {**_of(edge, table, series, time_ns), **({"stale": True} if stale else {"value": value})}
    if batch.histograms is not None:
        rows = batch.histograms
        for series, time_ns, count, total in zip(rows.series, rows.time_ns, rows.count, rows.sum, strict=True):
            yield {**_of(edge, table, int(series), int(time_ns)), "count": float(count), "sum": float(total)}
    if batch.native is not None:
        native = batch.native
        for series, time_ms, count, total in zip(native.series, native.time_ms, native.count, native.sum, strict=True):
            yield {
                **_of(edge, table, int(series), int(time_ms) * NS_PER_MS),
                "count": float(count),
                "sum": float(total),
            }


def as_json(sample: dict[str, Any]) -> str:
    """Write a sample as one line of JSON; values that JSON lacks become text."""
    plain = {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in sample.items()
    }
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)


def as_text(sample: dict[str, Any]) -> str:
    """Write a sample as one line for people: edge, series, value, seconds."""
    if "value" in sample:
        value = _number(sample["value"])
    else:
        value = "stale" if "stale" in sample else f"count={_number(sample['count'])} sum={_number(sample['sum'])}"
    return f"{sample['edge']}  {sample['series']} {value} @{sample['time_unix_nano'] / 1e9:.3f}"


def _number(value: float) -> str:
    """Write a number with the fewest digits that tell it from all others."""
    return repr(value).removesuffix(".0")


def shown(name: str, value: str) -> str:
    """Return the value of a label or attribute, without what looks like a secret by its name or as part of a URL."""
    return REDACTED if _SECRET_NAME.search(name) else _USER_IN_URL.sub(f"://{REDACTED}@", value)


def redacted(series: Series) -> Series:
    """Return a series as it may be shown."""
    return series.with_labels([(name, shown(name, value)) for name, value in series.labels])


def _of(edge: str, table: SeriesTable, series_id: int, time_ns: int) -> dict[str, Any]:
    series = redacted(table.series(series_id))
    found: dict[str, Any] = {
        "edge": edge,
        "series": str(series),
        "labels": dict(series.labels),
        "time_unix_nano": time_ns,
    }
    if series.resource is not None:
        found["resource"] = {name: shown(name, str(value)) for name, value in series.resource.attributes}
    return found
