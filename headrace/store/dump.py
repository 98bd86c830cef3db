"""Samples of blocks as text: one line each, series by series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.float_text import format_value
from headrace.store.inspection import index_of
from headrace.store.labels import QuerySymbols
from headrace.store.runs import merge
from headrace.store.tombstones import read_block, read_block_histograms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.store.inspection import WorkspaceView
    from headrace.store.matchers import Matcher

_STALE = np.uint64(0x7FF0000000000002)
_SERIES_AT_ONCE = 256
_METRIC = "__name__"


@dataclass(slots=True)
class DumpOptions:
    """What is dumped.

    Attributes:
        matchers: Alternatives, each a conjunction; none for everything.
        start_ms: First time.
        end_ms: Last time.
        openmetrics: In OpenMetrics, which has no stale markers: they are left out, and counted.
    """

    matchers: Sequence[Sequence[Matcher]] = ()
    start_ms: int = -(1 << 62)
    end_ms: int = (1 << 62) - 1
    openmetrics: bool = False


@dataclass(slots=True)
class DumpCounts:
    """What was dumped: samples, and what has no place in the format."""

    samples: int = 0
    stale: int = 0
    histograms: int = 0


def dump(found: WorkspaceView, options: DumpOptions, counts: DumpCounts) -> Iterator[str]:
    """Yield text of whole lines; `counts` is filled meanwhile.

    Raises:
        CorruptChunk: A block does not decode.
    """
    blocks = [block for block in found.blocks if block.overlaps(options.start_ms, options.end_ms)]
    index = index_of(blocks)
    chosen = [index.select(matchers) for matchers in options.matchers] or [index.refs()]
    refs = np.unique(np.concatenate(chosen))
    # The order of label sets, so that the series of a family stand together, as OpenMetrics asks.
    refs = refs[index.table(refs, QuerySymbols(index.symbols)).order()]
    for first in range(0, len(refs), _SERIES_AT_ONCE):
        some = refs[first : first + _SERIES_AT_ONCE]
        ascending = np.sort(some)
        runs = [read_block(b, found.tombstones, ascending, options.start_ms, options.end_ms) for b in blocks]
        samples = merge(runs, len(some))
        for block in blocks:
            counts.histograms += len(
                read_block_histograms(block, found.tombstones, ascending, options.start_ms, options.end_ms)
            )
        for ref in some.tolist():
            row = int(np.searchsorted(ascending, ref))
            a, b = int(samples.offsets[row]), int(samples.offsets[row + 1])
            if a < b:
                labels = dict(index.labels(ref))
                yield _lines(labels, samples.times_ms[a:b], samples.values[a:b], options, counts)
    if options.openmetrics:
        yield "# EOF\n"


def _lines(
    labels: Mapping[str, str],
    times_ms: np.ndarray[tuple[int], np.dtype[np.int64]],
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    options: DumpOptions,
    counts: DumpCounts,
) -> str:
    head = _openmetrics_name(labels) if options.openmetrics else _name(labels)
    stale = values.view(np.uint64) == _STALE
    counts.stale += int(stale.sum())
    if options.openmetrics:
        times_ms, values = times_ms[~stale], values[~stale]
    counts.samples += len(values)
    lines = []
    for time_ms, value in zip(times_ms.tolist(), values.tolist(), strict=True):
        when = _seconds(time_ms) if options.openmetrics else str(time_ms)
        lines.append(f"{head} {format_value(value)} {when}\n")
    return "".join(lines)


def _seconds(time_ms: int) -> str:
    sign, rest = ("-", -time_ms) if time_ms < 0 else ("", time_ms)
    whole, fraction = divmod(rest, 1000)
    return f"{sign}{whole}.{fraction:03d}"


def _name(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{_quoted_name(name)}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _openmetrics_name(labels: Mapping[str, str]) -> str:
    metric = labels.get(_METRIC, "")
    rest = [f'{_quoted_name(name)}="{_escaped(value)}"' for name, value in labels.items() if name != _METRIC]
    if not _plain(metric.replace(":", "_")):
        return "{" + ",".join([f'"{_escaped(metric)}"', *rest]) + "}"
    return metric + ("{" + ",".join(rest) + "}" if rest else "")


def _quoted_name(name: str) -> str:
    return name if _plain(name) else f'"{_escaped(name)}"'


def _plain(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
