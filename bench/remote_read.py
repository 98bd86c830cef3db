"""Remote read and federation: seconds of CPU of one core for what a large answer takes, from columns to bytes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store.api import exposition
from headrace.store.api.federate import page_of
from headrace.store.api.read_samples import query_result
from headrace.store.api.remote_read import chunks_of, label_messages
from headrace.store.api.selection import Selection
from headrace.store.labels import LabelTable, QuerySymbols
from headrace.store.prometheus_blocks.chunk_writing import frames
from headrace.store.symbols import Symbols

if TYPE_CHECKING:
    from collections.abc import Callable

_SERIES = 2_000
_SAMPLES = 240
_NEWEST = 100_000
_ROUNDS = 3
_FRAME_BYTES = 1 << 20


def run() -> dict[str, float]:
    """Measure samples a second of both kinds of answers to remote read, and lines a second of a page."""
    read, newest = _selection(_SERIES, _SAMPLES), _selection(_NEWEST, 1)
    samples = _SERIES * _SAMPLES
    streamed, stream_s = _quickest(lambda: len(frames(chunks_of(read), label_messages(read.labels), 0, _FRAME_BYTES)))
    _, whole_s = _quickest(lambda: len(query_result(read, label_messages(read.labels))))
    _, text_s = _quickest(lambda: len(exposition.text(page_of(newest, {}), "underscores")))
    _, protobuf_s = _quickest(lambda: len(exposition.protobuf(page_of(newest, {}), "underscores")))
    return {
        "streamed_samples_per_s": samples / stream_s,
        "streamed_bytes_per_sample": streamed / samples,
        "whole_samples_per_s": samples / whole_s,
        "text_lines_per_s": _NEWEST / text_s,
        "protobuf_samples_per_s": _NEWEST / protobuf_s,
    }


def _selection(series: int, samples: int) -> Selection:
    """Make counters that are scraped every 15 seconds, some milliseconds late."""
    rng = np.random.default_rng(1)
    sets = [
        {"__name__": f"requests_{i % 500}_total", "instance": f"10.0.0.{i}:9100", "job": "api", "code": "200"}
        for i in range(series)
    ]
    count = series * samples
    times = np.tile(np.int64(1_700_000_000_000) + np.arange(samples, dtype=np.int64) * 15_000, series)
    return Selection(
        LabelTable.of(sets, QuerySymbols(Symbols())), np.arange(series + 1, dtype=np.int64) * samples,
        times + rng.integers(0, 9, count), np.cumsum(rng.integers(0, 20, count)).astype(np.float64),
        np.zeros(series + 1, np.int64), NativeHistograms.empty(),
    )  # fmt: skip


def _quickest(work: Callable[[], int]) -> tuple[int, float]:
    """Return what `work` returns, and its least seconds of CPU; the first call compiles."""
    size, seconds = work(), np.inf
    for _ in range(_ROUNDS):
        began = time.thread_time()
        work()
        seconds = min(seconds, time.thread_time() - began)
    return size, float(seconds)
