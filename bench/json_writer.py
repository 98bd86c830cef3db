"""The JSON of large answers: bytes a second of one core, by kind of value, beside plain Python and `json`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.api import json_writer, results
from headrace.store.labels import LabelTable, QuerySymbols
from headrace.store.symbols import Symbols

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SERIES = 1000
_STEPS = 1000
_PLAIN_SERIES = 20
_REPEATED = 10
_ROUNDS = 3


def run() -> dict[str, float]:
    """Measure megabytes a second of matrices whose values are of one kind, and of vectors."""
    rng = np.random.default_rng(1)
    shape = (_SERIES, _STEPS)
    doubles = rng.random(shape)
    measured = {f"{name}_mb_per_s": _speed(values) for name, values in _kinds(rng, doubles).items()}
    library = _library_speed(doubles)
    return {
        **measured,
        "vector_mb_per_s": _vector_speed(doubles),
        "plain_python_mb_per_s": _plain_speed(doubles),
        "json_dumps_mb_per_s": library,
        "full_precision_to_json_dumps": measured["full_precision_mb_per_s"] / library,
    }


def _kinds(rng: np.random.Generator, doubles: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {
        "whole_numbers": rng.integers(0, 10**7, doubles.shape).astype(np.float64),
        "two_decimals": np.round(doubles * 1000, 2),
        "six_decimals": np.round(doubles, 6),
        "full_precision": doubles,
        "repeated": np.repeat(doubles[:, ::_REPEATED], _REPEATED, axis=1),
    }


def _table(n: int) -> LabelTable:
    sets = [{"__name__": "http_requests_total", "instance": f"10.0.0.{i}:9100", "job": "api"} for i in range(n)]
    return LabelTable.of(sets, QuerySymbols(Symbols()))


def _times(steps: int) -> NDArray[np.int64]:
    return np.int64(1_700_000_000_000) + np.arange(steps, dtype=np.int64) * 15_000


def _speed(values: NDArray[np.float64]) -> float:
    table, present = _table(len(values)), np.ones(values.shape, np.bool_)
    rows, times = np.arange(len(values), dtype=np.int64), _times(values.shape[1])
    seconds, size = [], 0
    for _ in range(_ROUNDS):
        started = time.thread_time()
        size = sum(map(len, json_writer.matrix_pieces(table, rows, times, values, present)))
        seconds.append(time.thread_time() - started)
    return size / min(seconds) / 1e6


def _vector_speed(values: NDArray[np.float64]) -> float:
    column = values.reshape(-1, 1)[:100_000].copy()
    table, rows = _table(len(column)), np.arange(len(column), dtype=np.int64)
    started = time.thread_time()
    size = sum(map(len, json_writer.vector_pieces(table, rows, 1_700_000_000_000, column)))
    return size / (time.thread_time() - started) / 1e6


def _plain_speed(values: NDArray[np.float64]) -> float:
    few = values[:_PLAIN_SERIES]
    offsets = np.arange(len(few) + 1) * few.shape[1]
    times = np.tile(_times(few.shape[1]), len(few))
    started = time.thread_time()
    size = len(results.matrix_result(_table(len(few)), offsets, times, few.ravel()))
    return size / (time.thread_time() - started) / 1e6


def _library_speed(values: NDArray[np.float64]) -> float:
    """Measure the standard library's encoder on the same matrix: points made of columns, texts of numbers, JSON."""
    few = values[:_PLAIN_SERIES]
    times = (_times(few.shape[1]) / 1000).tolist()
    started = time.thread_time()
    rows = [
        {"metric": {"i": str(i)}, "values": [[at, repr(value)] for at, value in zip(times, row.tolist(), strict=True)]}
        for i, row in enumerate(few)
    ]
    size = len(json.dumps(rows, separators=(",", ":")))
    return size / (time.thread_time() - started) / 1e6
