"""What remote write 1.0 requests are made of, against plain Python and protobuf's classes."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from headrace.pipeline.wire import remote_write_encode_kernels as kernels
from headrace.pipeline.wire.remote_write_encode import LabelArena, requests
from headrace.testing.batches import make_batch
from remote_write_messages import WriteRequest


@pytest.mark.parametrize("amount", [0, 1, 2, 50, 3000])
@pytest.mark.parametrize("distinct", [1, 7, 3000])
def test_rows_are_brought_together(amount: int, distinct: int) -> None:
    """Series come in the order of their first rows, and rows of a series stay in order."""
    rng = np.random.default_rng(amount + distinct)
    series = rng.integers(0, distinct, amount).astype(np.int32)
    slots = np.full(distinct, -1, np.int32)
    starts, order = np.empty(amount + 1, np.int64), np.empty(amount, np.int64)
    groups = kernels.group(series, slots, np.empty(amount, np.int32), starts, order)
    expected: dict[int, list[int]] = {}
    for row, one in enumerate(series.tolist()):
        expected.setdefault(one, []).append(row)
    bounds = starts[: groups + 1].tolist()
    found = [order[begin:end].tolist() for begin, end in itertools.pairwise(bounds)]
    assert found == list(expected.values())
    assert (slots == -1).all()


def test_labels_are_merged_with_external_ones() -> None:
    """They are sorted by the bytes of their names; a series' own label is stronger, whatever its length."""
    rng = random.Random(3)
    names = ["a", "ab", "abc", "b", "é", "z" * 200, "zone"]
    texts = ["x", "ü" * 100, "y" * 20_000, "17 bytes of text!"]
    for _ in range(30):
        external = {name: rng.choice(texts) for name in rng.sample(names, rng.randint(0, 4))}
        series = [
            {"__name__": f"m{i}", **{name: rng.choice(texts) for name in rng.sample(names, rng.randint(0, 5))}}
            for i in range(5)
        ]
        batch = make_batch(series)
        arena = LabelArena(batch.table, external)
        message = WriteRequest()
        for one in requests(arena, batch.series, batch.time_ms, batch.value, 1 << 24):
            message.ParseFromString(bytes(one.body))
        found = [[(label.name.decode(), label.value.decode()) for label in one.labels] for one in message.timeseries]
        assert found == [sorted({**external, **one}.items()) for one in series]


@pytest.mark.large
def test_many_new_series() -> None:
    """More than are encoded at a time, some of which were known before."""
    batch = make_batch([f"m{i}" for i in range(10_000)])
    arena = LabelArena(batch.table, {"zone": "eu"})
    arena.learn(batch.series[::3])
    found = []
    for one in requests(arena, batch.series, batch.time_ms, batch.value, 100_000):
        message = WriteRequest()
        message.ParseFromString(bytes(one.body))
        found += [series.labels[0].value.decode() for series in message.timeseries]
    assert found == [f"m{i}" for i in range(10_000)]
