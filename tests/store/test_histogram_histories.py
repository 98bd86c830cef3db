"""Random histories of samples and native histograms against a plain dict: what is selected is what was acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.store.interfaces import Code, SeriesBatch
from native_rows import STALE, STALE_BITS, Growing, Row, columns, rows_of
from store_histories import ALL, LABELS, SHARDS, StoreHistory, run_shard

if TYPE_CHECKING:
    from pathlib import Path

Value = int | Row
"""Bits of a sample, or a histogram."""


class History(StoreHistory):
    """Samples and histograms: the model has bits and rows."""

    def __init__(self, directory: Path, seed: int) -> None:
        super().__init__(directory, seed)
        self.growing = [Growing(self.random) for _ in LABELS]

    def value(self, i: int, *, histograms: bool) -> Value:
        """Return something to append: often what is there already, so that duplicates come up."""
        pick = self.random
        if not histograms:
            return pick.choice([pick.randint(0, 3), STALE_BITS])
        found = [value for value in self.model.get(LABELS[i], {}).values() if isinstance(value, Row)]
        return pick.choice(found) if found and pick.random() < 0.2 else self.growing[i].next()

    async def append(self) -> None:
        pick = self.random
        self.ms += pick.choice([1000, 5000, 15_000, 40_000])
        histograms = pick.random() < 0.6
        rows = []
        for i in pick.sample(range(len(LABELS)), pick.randint(1, 8)):
            for _ in range(pick.choice([1, 1, 3])):
                late = pick.choice([0, 0, 0, 1000, 7000, 20_000, 50_000])
                rows.append((i, self.ms - late, self.value(i, histograms=histograms)))
        rows += [(i, time, self.again(i, time, value)) for i, time, value in rows if pick.random() < 0.1]
        engine = self.store.engine("default")
        refs = engine.refs([LABELS[i] for i, _, _ in rows])
        times, values = [time for _, time, _ in rows], [value for _, _, value in rows]
        if histograms:
            natives = columns(refs.tolist(), times, [value for value in values if isinstance(value, Row)])
            codes = (await engine.append_histograms(natives)).codes
        else:
            floats = np.array(values, np.uint64).view(np.float64)
            codes = (await engine.append(SeriesBatch(refs, np.array(times, np.int64), floats))).codes
        # What is in order goes in before what is late, whatever its row.
        late = (codes == Code.DUPLICATE) | (codes == Code.CONFLICT) | (codes == Code.OUT_OF_ORDER_OK)
        for k in np.argsort(late, kind="stable").tolist():
            i, time, value = rows[k]
            self.learn_any(self.model.setdefault(LABELS[i], {}), time, value, Code(int(codes[k])))

    def again(self, i: int, time: int, value: Value) -> Value:
        """Return what is there, or what comes."""
        there = self.model.get(LABELS[i], {}).get(time, value)
        return there if isinstance(there, Row) == isinstance(value, Row) else value

    def learn_any(self, series: dict[int, Any], time: int, value: Value, code: Code) -> None:
        there = series.get(time)
        stale = value in (STALE, STALE_BITS)
        same_kind = isinstance(there, Row) == isinstance(value, Row)
        if code in {Code.OK, Code.OUT_OF_ORDER_OK, Code.REPLACED}:
            assert there is None or (same_kind and there in (STALE, STALE_BITS)), (there, value, code)
            series[time] = value
        elif code is Code.DUPLICATE:
            assert there is not None
            assert stale or (same_kind and alike(there, value))
        elif code is Code.CONFLICT:
            assert there is not None
            assert not stale
            assert not same_kind or not alike(there, value)
        else:
            assert code is Code.TOO_OLD

    def check(self) -> None:
        start, end = 0, 1 << 60
        if self.random.random() < 0.5:
            start, end = sorted(self.ms - self.random.randint(-60_000, 600_000) for _ in range(2))
        engine = self.store.engine("default")
        got: dict[Any, dict[int, Any]] = {}
        floats = engine.select(ALL, start, end)
        bits, times = floats.values.view(np.uint64).tolist(), floats.times_ms.tolist()
        for i in range(len(floats)):
            rows = range(int(floats.offsets[i]), int(floats.offsets[i + 1]))
            got[tuple(floats.labels.labels(i).items())] = {times[k]: bits[k] for k in rows}
        found = engine.select_histograms(ALL, start, end)
        natives = rows_of(found.histograms)
        for i in range(len(found)):
            series = got.setdefault(tuple(found.labels.labels(i).items()), {})
            part = natives[int(found.offsets[i]) : int(found.offsets[i + 1])]
            assert [time for _, time, _ in part] == sorted({time for _, time, _ in part})
            assert not series.keys() & {time for _, time, _ in part}
            series.update({time: row for _, time, row in part})
        expected = {
            labels: inside
            for labels, series in self.model.items()
            if (inside := {time: value for time, value in series.items() if start <= time <= end})
        }
        assert got == expected, self.log
        table = engine.series(ALL, start, end)
        assert {tuple(table.labels(i).items()) for i in range(len(table))} == set(expected)
        # Series whose samples were all purged are known until they are forgotten.
        assert set(engine.label_values("i", ALL, start, end)) >= {labels[1][1] for labels in expected}


def alike(one: Value, other: Value) -> bool:
    """Return whether two values count as one."""
    if isinstance(one, Row) and isinstance(other, Row):
        return plain(one) == plain(other)
    return one == other


def plain(row: Row) -> tuple[Any, ...]:
    """Return what makes a histogram: all but hint and start time."""
    return (
        row.flags, row.schema, row.threshold_bits, row.zero_count, row.count, row.sum_bits, row.positive, row.negative,
        row.buckets, row.bounds_bits,
    )  # fmt: skip


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_histories(tmp_path: Path, shard: int) -> None:
    """Samples and histograms in and out of order, deletions, purges, flushes, merges, restarts and crashes."""
    run_shard(History, tmp_path, shard)
