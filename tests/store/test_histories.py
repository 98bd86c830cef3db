"""Random histories of a workspace against a plain dict: what is selected is what was acknowledged and not deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.store.interfaces import Code, SeriesBatch
from store_histories import ALL, LABELS, SHARDS, START, StoreHistory, run_shard

if TYPE_CHECKING:
    from pathlib import Path

STALE_BITS = 0x7FF0000000000002
STALE = float(np.uint64(STALE_BITS).view(np.float64))


class History(StoreHistory):
    """Samples: the model has their bits."""

    async def append(self) -> None:
        pick = self.random
        self.ms += pick.choice([1000, 5000, 15_000, 40_000])
        rows = []
        for i in pick.sample(range(len(LABELS)), pick.randint(1, 8)):
            for _ in range(pick.choice([1, 1, 3])):
                late = pick.choice([0, 0, 0, 1000, 7000, 20_000, 50_000])
                value = pick.choice([pick.random(), float(pick.randint(0, 3)), STALE])
                rows.append((i, self.ms - late, value))
        engine = self.store.engine("default")
        refs = engine.refs([LABELS[i] for i, _, _ in rows])
        times = np.array([time for _, time, _ in rows], np.int64)
        values = np.array([value for _, _, value in rows], np.float64)
        codes = (await engine.append(SeriesBatch(refs, times, values))).codes
        for (i, time, _), bits, code in zip(rows, values.view(np.uint64).tolist(), codes.tolist(), strict=True):
            self.learn(self.model.setdefault(LABELS[i], {}), time, bits, Code(code))

    def learn(self, series: dict[int, int], time: int, bits: int, code: Code) -> None:
        there = series.get(time)
        if code in {Code.OK, Code.OUT_OF_ORDER_OK}:
            # A value takes the place of a stale marker, wherever that lies.
            assert there in {None, STALE_BITS}
            series[time] = bits
        elif code is Code.REPLACED:
            assert there == STALE_BITS
            series[time] = bits
        elif code is Code.DUPLICATE:
            assert there is not None
            assert bits in {there, STALE_BITS}
        elif code is Code.CONFLICT:
            assert there is not None
            assert bits != there
        else:
            assert code is Code.TOO_OLD

    def check(self) -> None:
        start, end = 0, 1 << 60
        if self.random.random() < 0.5:
            start, end = sorted(START + self.random.randint(-60_000, self.ms - START + 60_000) for _ in range(2))
        found = self.store.engine("default").select(ALL, start, end)
        bits = found.values.view(np.uint64).tolist()
        times = found.times_ms.tolist()
        got = {}
        for i in range(len(found)):
            rows = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
            got[tuple(found.labels.labels(i).items())] = list(zip(times[rows], bits[rows], strict=True))
        expected = {}
        for labels, series in self.model.items():
            inside = sorted((time, value) for time, value in series.items() if start <= time <= end)
            if inside:
                expected[labels] = inside
        assert got == expected, self.log


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_histories(tmp_path: Path, shard: int) -> None:
    """Appends in and out of order, deletions, purges, flushes, merges, restarts and crashes in any order."""
    run_shard(History, tmp_path, shard)
