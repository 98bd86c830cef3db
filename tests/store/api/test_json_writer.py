"""The compiled JSON writer, byte for byte against the plain one."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.kernels.jit import DISABLED
from headrace.store.api import json_writer, results
from headrace.store.api.label_json import label_objects
from headrace.store.labels import LabelTable, QuerySymbols
from headrace.store.symbols import Symbols

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "100"))
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, -5e-324, 1e21, 1e-6, 9.99e-7, 2.0**53, 1e12 - 0.001, 0.1, 1e20]


def table_of(rng: np.random.Generator, n: int) -> LabelTable:
    """Make label sets of several shapes: lacking labels, none at all, quotes, control characters, other scripts."""
    values = ["a", 'q"\\', "\n\x01", "\u00e4\u65e5", "\udcff", "x" * 40]
    sets = [
        {name: str(rng.choice(values)) + str(i) for name in ("__name__", "a b", "\u00e9", "z") if rng.random() < 0.7}
        for i in range(n)
    ]
    return LabelTable.of(sets, QuerySymbols(Symbols()))


def values_of(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Mix every pattern of bits, subnormals, whole numbers, decimals, special ones and repetitions."""
    kinds = [
        rng.integers(0, 2**64, shape, np.uint64).view(np.float64),
        rng.integers(0, 2**52, shape, np.uint64).view(np.float64),
        rng.integers(-(2**54), 2**54, shape) / np.float64(10.0) ** rng.integers(0, 22, shape),
        np.round(rng.normal(0, 1000, shape), int(rng.integers(0, 6))),
        np.array(SPECIAL)[rng.integers(0, len(SPECIAL), shape)],
        np.repeat(rng.normal(size=(shape[0], 1)), shape[1], axis=1),
    ]
    return np.choose(rng.integers(0, len(kinds), shape), kinds)


def plain_matrix(
    table: LabelTable, rows: np.ndarray, times_ms: np.ndarray, values: np.ndarray, present: np.ndarray
) -> bytes:
    kept = present[rows]
    own, when = np.nonzero(kept)
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int64)
    return results.matrix_result(table, offsets, times_ms[when], values[rows][own, when])


def test_grids_are_written_as_the_plain_writer_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any labels, gaps and bits, in pieces of any size."""
    for seed in range(4 if DISABLED else RUNS):
        rng = np.random.default_rng(seed)
        n, steps = int(rng.integers(0, 12)), int(rng.integers(1, 40))
        monkeypatch.setattr(json_writer, "_PIECE_BYTES", int(rng.integers(1, 3000)))
        monkeypatch.setattr(json_writer, "_FIRST_PIECE_BYTES", int(rng.integers(1, 3000)))
        values, present = values_of(rng, (n, steps)), rng.random((n, steps)) < rng.random()
        rows = rng.permutation(n)[: int(rng.integers(0, n + 1))]
        table = table_of(rng, n).take(rows)
        times = rng.integers(-5000, 2**41) + np.arange(steps) * rng.integers(1, 90_000)
        written = b"".join(json_writer.matrix_pieces(table, rows, times, values, present))
        assert written == plain_matrix(table, rows, times, values, present)


def test_labels_are_written_as_the_plain_writer_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Label sets without points."""
    for seed in range(4 if DISABLED else RUNS):
        rng = np.random.default_rng(seed)
        monkeypatch.setattr(json_writer, "_FIRST_PIECE_BYTES", int(rng.integers(1, 3000)))
        table = table_of(rng, int(rng.integers(0, 30)))
        assert b"".join(json_writer.label_pieces(table)) == b"[" + b",".join(label_objects(table)) + b"]"


def test_ranges_are_written_as_the_plain_writer_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points with times of their own."""
    for seed in range(4 if DISABLED else RUNS):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(0, 12))
        monkeypatch.setattr(json_writer, "_PIECE_BYTES", int(rng.integers(1, 3000)))
        sizes = rng.integers(0, 30, n)
        firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        values = values_of(rng, (1, int(firsts[-1])))[0] if firsts[-1] else np.zeros(0)
        times = rng.integers(-(2**45), 2**45, len(values))
        table = table_of(rng, n)
        written = b"".join(json_writer.range_pieces(table, (firsts[:-1], sizes), times, values))
        assert written == results.matrix_result(table, firsts, times, values)


def test_vectors_are_written_as_the_plain_writer_writes_them() -> None:
    """One value a series."""
    for seed in range(4 if DISABLED else RUNS):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(0, 30))
        values, rows, table = values_of(rng, (n, 1)), rng.permutation(n), table_of(rng, n)
        written = b"".join(json_writer.vector_pieces(table.take(rows), rows, 1500, values))
        assert written == results.vector_result(table.take(rows), 1500, values[rows, 0])


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_every_double_reads_back(values: list[float]) -> None:
    """What is written is the number."""
    grid = np.array([values])
    table = LabelTable.of([{}], QuerySymbols(Symbols()))
    times = np.arange(len(values)) * 1000
    pieces = json_writer.matrix_pieces(table, np.arange(1), times, grid, np.ones(grid.shape, np.bool_))
    points = json.loads(b"".join(pieces))[0]["values"]
    assert [float(text) for _, text in points] == pytest.approx(values, rel=0, abs=0, nan_ok=True)


def test_the_first_piece_comes_before_the_others_are_made() -> None:
    """A client has something to read at once, and a writer nobody asks goes no further."""
    steps = 50_000 if not DISABLED else 3_000
    grid = np.zeros((1, steps))
    table = LabelTable.of([{"a": "b"}], QuerySymbols(Symbols()))
    pieces = json_writer.matrix_pieces(table, np.arange(1), np.arange(steps), grid, np.ones(grid.shape, np.bool_))
    first = next(iter(pieces))
    assert bytes(first[:40]).startswith(b'[{"metric":{"a":"b"},"values":[[0,"0"],[')
    assert len(first) < 32 * 1024


def test_labels_longer_than_a_piece() -> None:
    """A piece is made long enough for them."""
    table = LabelTable.of([{"a": "x" * 1_000_000}, {"a": "y"}], QuerySymbols(Symbols()))
    written = b"".join(json_writer.vector_pieces(table, np.arange(2), 0, np.ones((2, 1))))
    assert written == results.vector_result(table, 0, np.ones(2))
