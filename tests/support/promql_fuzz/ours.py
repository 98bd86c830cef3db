"""The product's side: a real store that holds given series, asked in this process."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.errors import HeadraceError
from headrace.store.api.backend import QueryOptions
from headrace.store.api.errors import ApiError
from headrace.store.api.promql import PromQLService
from headrace.store.api.ticket import Ticket
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.store.promql.language.parser import ParserOptions
from headrace.store.store import Store, StoreOptions
from headrace.testing.promql_script_histograms import Histogram, Timed, as_columns
from prometheus_oracle import LONG_AGO_MS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.engine import Engine
    from prometheus_oracle import Series

DAY_MS = 86_400_000
_TIMEOUT_S = 60.0


def options(*, delayed: bool) -> EvaluatorOptions:
    """Return the settings of the peer: its version's experimental parts are on, and no later ones."""
    of_parser = {f.name for f in fields(ParserOptions)} & {"experimental_functions", "duration_expressions"}
    parser = ParserOptions(**dict.fromkeys(of_parser, True))
    return EvaluatorOptions(parser=parser, delayed_name_removal=delayed, per_step_statistics=True)


class Ours:
    """A store with series.

    Args:
        folder: Where its data goes.
        series: What it holds.
        delayed: Whether metric names are removed at the end of a query.
    """

    def __init__(self, folder: Path, series: Sequence[Series], *, delayed: bool) -> None:
        self.store = Store(folder, StoreOptions(Sync.NEVER, 0), clock_ms=lambda: DAY_MS)
        self.store.open()
        engine = self.store.engine("default")
        asyncio.run(_fill(engine, series))
        self._service = PromQLService(engine, options(delayed=delayed))

    def close(self) -> None:
        """Release the folder."""
        asyncio.run(self.store.close())

    def ask(self, query: str, *times_ms: int) -> tuple[bytes, dict[str, Any]]:
        """Ask for one time, or for start, end and step.

        Returns:
            The JSON of the result, empty for an error; and the rest of the answer as the API writes it.
        """
        asked = QueryOptions(Ticket(_TIMEOUT_S), statistics="all")
        try:
            if len(times_ms) == 1:
                found = self._service.instant(query, times_ms[0], asked)
            else:
                start_ms, end_ms, step_ms = times_ms
                found = self._service.range(query, start_ms, end_ms, step_ms, asked)
        except ApiError as error:
            return b"", {"status": "error", "errorType": error.kind, "error": str(error)}
        except (HeadraceError, ArithmeticError, LookupError, TypeError, ValueError, AssertionError) as error:
            return b"", {"status": "error", "errorType": "bug", "error": f"{type(error).__name__}: {error}"}
        stats = json.loads(json.dumps(found.stats))
        rest = {
            "status": "success",
            "data": {"resultType": found.kind, "stats": stats},
            "warnings": list(found.warnings),
            "infos": list(found.infos),
        }
        return bytes(found.result), rest


async def _fill(engine: Engine, series: Sequence[Series]) -> None:
    """Append what there is at a time, one time after the other: in a series of both kinds nothing is out of order.

    Each series has the sample of long ago that it has in the peer, too.
    """
    refs = engine.refs([tuple(sorted(one.labels.items())) for one in series]).tolist()
    by_time: dict[int, list[tuple[int, float | Histogram, bool]]] = defaultdict(list)
    for ref, one in zip(refs, series, strict=True):
        for time_ms, value in [(LONG_AGO_MS, 0.0), *one.points]:
            by_time[time_ms].append((ref, value, one.integers))
    for time_ms, rows in sorted(by_time.items()):
        numbers = [(ref, value) for ref, value, _ in rows if isinstance(value, float)]
        histograms = [(ref, value, whole) for ref, value, whole in rows if isinstance(value, Histogram)]
        batch = SeriesBatch(
            np.array([ref for ref, _ in numbers], np.int32),
            np.full(len(numbers), time_ms, np.int64),
            np.array([value for _, value in numbers], np.float64),
        )
        taken = await engine.append(batch)
        assert taken.accepted == len(numbers), taken
        columns = as_columns([(ref, Timed(time_ms, 0, value)) for ref, value, _ in histograms])
        taken = await engine.append_histograms(_with_integers(columns, [whole for _, _, whole in histograms]))
        assert taken.accepted == len(histograms), taken


def _with_integers(columns: NativeHistograms, whole: Sequence[bool]) -> NativeHistograms:
    """Turn the counts of some rows into integers."""
    rows = np.array(whole, np.bool_)
    of_buckets = np.repeat(rows, np.diff(columns.bucket_starts))

    def changed(words: np.ndarray[Any, np.dtype[np.uint64]], where: np.ndarray[Any, np.dtype[np.bool_]]) -> Any:
        return np.where(where, words.view(np.float64).astype(np.uint64), words)

    return replace(
        columns,
        flags=np.where(rows, 0, columns.flags).astype(np.uint8),
        count=changed(columns.count, rows),
        zero_count=changed(columns.zero_count, rows),
        buckets=changed(columns.buckets, of_buckets),
    )
