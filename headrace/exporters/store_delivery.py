"""From a flat batch to the store: samples, native histograms and exemplars, and what is said about each of them."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.pipeline.component import Outcome
from headrace.store.exemplars import ExemplarBatch, ExemplarCode, ExemplarResult
from headrace.store.interfaces import FIRST_REJECTION, AppendResult, Code, SeriesBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.exporters.store_refs import StoreRefs
    from headrace.pipeline.batch import ExemplarColumns, MetricBatch
    from headrace.pipeline.counters import Drops
    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.pipeline.prometheus_edge import Flat
    from headrace.store.engine import Engine

_NS_PER_MS = 1_000_000


class Appended(NamedTuple):
    """What the store answered.

    Attributes:
        samples: About the number points.
        histograms: About the native histograms, None without any.
        exemplars: About the exemplars, None without any.
    """

    samples: AppendResult
    histograms: AppendResult | None = None
    exemplars: ExemplarResult | None = None


async def append(engine: Engine, batch: MetricBatch, refs: StoreRefs) -> Appended:
    """Store a flat batch; return when all of it is durable.

    Raises:
        StoreFailed: The disk failed; nothing of the batch is acknowledged.
    """
    native, exemplars = batch.native, batch.exemplars
    if not native and not exemplars:
        return Appended(await _append_samples(engine, batch, refs))
    # Together, so that one commit of the log makes them durable; each begins in this order.
    answers = await asyncio.gather(
        _append_samples(engine, batch, refs),
        _append_histograms(engine, native, batch, refs),
        _append_exemplars(engine, exemplars, batch, refs),
    )
    return Appended(*answers)


async def _append_samples(engine: Engine, batch: MetricBatch, refs: StoreRefs) -> AppendResult:
    # Refs are asked for where they are used: a series without samples may be forgotten at any turn of the loop.
    return await engine.append(SeriesBatch(refs.of(batch.table, batch.series), batch.time_ms, batch.value))


async def _append_histograms(
    engine: Engine, rows: NativeHistograms | None, batch: MetricBatch, refs: StoreRefs
) -> AppendResult | None:
    if not rows:
        return None
    return await engine.append_histograms(replace(rows, series=refs.of(batch.table, rows.series)))


async def _append_exemplars(
    engine: Engine, rows: ExemplarColumns | None, batch: MetricBatch, refs: StoreRefs
) -> ExemplarResult | None:
    if not rows or not engine.options.max_exemplars:
        return None
    dated = rows.time_ns != 0
    times = np.where(dated, rows.time_ns, batch.context.received_ns) // _NS_PER_MS
    series = refs.of(batch.table, rows.series)
    return await engine.append_exemplars(
        ExemplarBatch(series, times, rows.value, dated, rows.arena, rows.spans.copy(), rows.starts)
    )


def outcome(points: int, flat: Flat, appended: Appended, drops: Drops) -> Outcome:
    """Return the answer to whoever sent a batch of so many points; count what was not taken."""
    batch = flat.batch
    rejected = Tally(flat.rejected)
    message = _reject(appended.samples, batch, batch.series, batch.time_ms, rejected, drops)
    bad_histograms = flat.rejected_histograms
    if appended.histograms is not None and batch.native is not None:
        found = appended.histograms
        message = message or _reject(found, batch, batch.native.series, batch.native.time_ms, rejected, drops)
        bad_histograms += len(found.codes) - found.accepted
    bad_exemplars, why = _reject_exemplars(appended.exemplars, batch, drops)
    return Outcome(points, dict(rejected), flat.message or message, bad_histograms, bad_exemplars, why)


def _reject(
    result: AppendResult,
    batch: MetricBatch,
    series: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    rejected: Tally[str],
    drops: Drops,
) -> str:
    """Count the rows that were not taken; return the first of them in words."""
    if result.accepted == len(result.codes):
        return ""
    first = int((result.codes >= FIRST_REJECTION).argmax())
    name = str(batch.table.series(int(series[first])))
    for code, amount in enumerate(np.bincount(result.codes).tolist()):
        if amount and code >= FIRST_REJECTION:
            rejected[Code(code).reason] += amount
            drops.add(Code(code).reason, amount, name)
    return f"{Code(int(result.codes[first])).text}: series {name}, timestamp {int(times_ms[first])}"


def _reject_exemplars(result: ExemplarResult | None, batch: MetricBatch, drops: Drops) -> tuple[int, str]:
    """Count the exemplars that were not taken; return their number and the first of them in words."""
    if result is None or batch.exemplars is None or result.accepted == len(result.codes):
        return 0, ""
    bad = result.codes > ExemplarCode.DUPLICATE
    first = int(bad.argmax())
    name = str(batch.table.series(int(batch.exemplars.series[first])))
    for code, amount in enumerate(np.bincount(result.codes[bad]).tolist()):
        if amount:
            drops.add(ExemplarCode(code).reason, amount, name)
    return int(bad.sum()), f"{ExemplarCode(int(result.codes[first])).text}: series {name}"
