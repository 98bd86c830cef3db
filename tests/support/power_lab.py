"""A store under load on a disk that may lose power, and what has to be there afterwards."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from faulty_files import FaultyFiles
from headrace.pipeline.errors import StoreError
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import FIRST_REJECTION, Code, MetadataRow, SeriesBatch
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions
from native_rows import Row, columns, rows_of

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from headrace.store.interfaces import Labels

START = 1_700_000_000_000
BLOCK_MS = 60_000
STALE_BITS = 0x7FF0000000000002
STALE = float(np.uint64(STALE_BITS).view(np.float64))
WORKSPACES = ("one", "two")
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)
NAMES = 4

Key = tuple[str, "Labels"]


class PowerLab:
    """Runs a store until the power goes, opens what is left, and compares.

    Args:
        folder: For the directories, one for each life of the store.
        seed: Of all that happens, but for what threads do to each other.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.life = 0
        self.ms = START
        self.series = 4
        self.samples: dict[Key, dict[int, int]] = {}
        """What was acknowledged and not deleted."""
        self.families: dict[str, dict[str, MetadataRow]] = {workspace: {} for workspace in WORKSPACES}
        self.figures: Counter[str] = Counter()
        self._begin_life()
        self.directory = folder / "0"
        self.directory.mkdir()
        self.open()

    def _begin_life(self) -> None:
        self.maybe: dict[Key, dict[int, set[int]]] = {}
        """What was sent and not acknowledged."""
        self.maybe_deleted: list[tuple[str, str, int, int]] = []
        self.maybe_families: list[tuple[str, MetadataRow]] = []

    def open(self) -> None:
        """Open the present directory."""
        self.files = FaultyFiles(self.directory)
        engine = EngineOptions(
            block_ms=BLOCK_MS, out_of_order_ms=30_000, max_future_ms=600_000, retention_ms=1 << 40,
            linger_ms=self.random.choice([0, -1]),
        )  # fmt: skip
        options = StoreOptions(min_free_bytes=0, engine=engine)
        self.store = Store(self.directory, options, files=self.files, clock_ms=lambda: self.ms)
        self.store.log.segment_bytes = self.random.choice([2000, 20_000, 1 << 20])
        self.store.open()

    def abandon(self) -> None:
        """Leave the store as a machine leaves it that stops."""
        store = self.store
        assert store._lock is not None
        store._lock.release()
        store._lock = None
        store._open = False
        store.log._thread.shutdown()

    # -- load ----------------------------------------------------------------------------------------------

    def labels(self, number: int, *, native: bool = False) -> Labels:
        """Return a series of samples, or the one of native histograms beside it."""
        kind = (("kind", "native"),) if native else ()
        return (("__name__", f"m{number % NAMES}"), ("i", str(number)), *kind)

    async def append(self, names: set[int]) -> None:
        """Send samples, or native histograms, of series of some names: in order, late, repeated, of new series."""
        pick = self.random
        native = pick.random() < 0.3
        workspace = pick.choice(WORKSPACES)
        if pick.random() < 0.1:
            self.series += pick.randint(1, 3)
        chosen = [i for i in range(self.series) if i % NAMES in names]
        if not chosen:
            return
        rows = []
        for number in pick.sample(chosen, min(len(chosen), pick.randint(1, 12))):
            for _ in range(pick.choice([1, 1, 1, 4])):
                late = pick.choice([0, 0, 0, 0, 1000, 7000, 25_000])
                value = pick.choice([pick.random(), float(pick.randint(0, 3)), 5.0 if native else STALE])
                rows.append((number, self.ms - late, value))
        engine = self.store.engine(workspace)
        labels = [self.labels(number, native=native) for number, _, _ in rows]
        refs = engine.refs(labels)
        times = np.array([time for _, time, _ in rows], np.int64)
        values = np.array([value for _, _, value in rows], np.float64)
        keys = [(workspace, one) for one in labels]
        bits = values.view(np.uint64).tolist()
        for key, time, value in zip(keys, times.tolist(), bits, strict=True):
            self.maybe.setdefault(key, {}).setdefault(time, set()).add(value)
        if native:
            # What tells them apart is the sum.
            histograms = [
                Row(sum_bits=value, count=number, positive=((number, 1),), buckets=(number,))
                for (number, _, _), value in zip(rows, bits, strict=True)
            ]
            result = await engine.append_histograms(columns(refs.tolist(), times.tolist(), histograms))
            self.figures["histograms acknowledged"] += result.accepted
        else:
            result = await engine.append(SeriesBatch(refs, times, values))
        codes = result.codes.tolist()
        for key, time, value, code in zip(keys, times.tolist(), bits, codes, strict=True):
            self.figures["acknowledged"] += code < FIRST_REJECTION
            series = self.samples.setdefault(key, {})
            if code == Code.DUPLICATE and value == STALE_BITS:
                # A value may be there, and beats it.
                series.setdefault(time, value)
            elif code in {Code.OK, Code.OUT_OF_ORDER_OK, Code.REPLACED, Code.DUPLICATE}:
                series[time] = value

    async def describe(self) -> None:
        """Send metadata."""
        workspace, pick = self.random.choice(WORKSPACES), self.random
        row = MetadataRow(f"m{pick.randrange(NAMES)}", pick.choice(["gauge", "counter"]), str(pick.random()), "")
        self.maybe_families.append((workspace, row))
        await self.store.engine(workspace).update_metadata([row])
        self.families[workspace][row.family] = row

    async def delete(self, name: int) -> None:
        """Delete a range of the series of one name."""
        workspace = self.random.choice(WORKSPACES)
        start, end = sorted(START + self.random.randint(0, max(self.ms - START, 1)) for _ in range(2))
        self.maybe_deleted.append((workspace, f"m{name}", start, end))
        await self.store.delete(workspace, (Matcher("__name__", MatchType.EQUAL, f"m{name}"),), start, end)
        self.maybe_deleted.pop()
        self.figures["deletions"] += 1
        for (owner, labels), series in self.samples.items():
            if owner == workspace and labels[0][1] == f"m{name}":
                for time in [time for time in series if start <= time <= end]:
                    self.figures["deleted samples"] += 1
                    del series[time]
        for (owner, labels), maybe in self.maybe.items():
            if owner == workspace and labels[0][1] == f"m{name}":
                for time in [time for time in maybe if start <= time <= end]:
                    del maybe[time]

    async def maintain(self, action: str) -> None:
        """Do what the store does in the background."""
        loop = asyncio.get_running_loop()
        if action == "compact":
            self.figures["merges"] += await self.store.compact()
        elif action == "purge":
            self.figures["purges"] += await self.store.purge(self.random.choice(WORKSPACES))
        else:
            everything = action == "everything"
            only = self.store.engine(self.random.choice(WORKSPACES)) if self.random.random() < 0.4 else None
            flush = self.store.flush
            self.figures["flushes"] += (
                await loop.run_in_executor(None, lambda: flush(everything=everything, only=only)) > 0
            )

    async def step(self) -> None:
        """Let several things happen at once."""
        pick = self.random
        self.ms += pick.choice([0, 1000, 5000, 15_000, 40_000])
        names = set(range(NAMES))
        doing: list[Coroutine[Any, Any, None]] = []
        if pick.random() < 0.15:
            name = pick.randrange(NAMES)
            names.discard(name)
            doing.append(self.delete(name))
        elif pick.random() < 0.4:
            doing.append(self.maintain(pick.choice(["flush", "flush", "everything", "compact", "purge"])))
        if pick.random() < 0.15:
            doing.append(self.describe())
        doing.extend(self.append(names) for _ in range(pick.choice([1, 1, 3])))
        results = await asyncio.gather(*doing, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not (
                self.files.dead and isinstance(result, (StoreError, OSError))
            ):
                raise result

    # -- loss ----------------------------------------------------------------------------------------------

    async def until_loss(self) -> None:
        """Run until the power goes at some operation, and open what is left of the directory."""
        self.files.dies_in = self.random.randint(1, self.random.choice([30, 300, 1500]))
        while not self.files.dead:
            await self.step()
        self.abandon()
        self.life += 1
        target = self.folder / str(self.life)
        self.files.lose_power(self.random, target)
        self.directory = target
        self.open()
        self.compare()

    async def kill(self) -> None:
        """Open the directory as it is, as after kill -9."""
        self.abandon()
        self.open()
        self.compare()

    def found(self) -> dict[Key, dict[int, int]]:
        """Return all samples that the store answers with."""
        out: dict[Key, dict[int, int]] = {}
        for workspace in WORKSPACES:
            found = self.store.engine(workspace).select(ALL, 0, 1 << 60)
            bits, times = found.values.view(np.uint64).tolist(), found.times_ms.tolist()
            for i in range(len(found)):
                rows = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
                labels = tuple(found.labels.labels(i).items())
                assert (workspace, labels) not in out, "a series is there twice"
                assert len(set(times[rows])) == len(times[rows]), "a sample is there twice"
                out[workspace, labels] = dict(zip(times[rows], bits[rows], strict=True))
            out.update(self._found_histograms(workspace))
        return out

    def _found_histograms(self, workspace: str) -> dict[Key, dict[int, int]]:
        """Return the sums of all native histograms, which tell them apart."""
        found = self.store.engine(workspace).select_histograms(ALL, 0, 1 << 60)
        rows = rows_of(found.histograms)
        out = {}
        for i in range(len(found)):
            labels = tuple(found.labels.labels(i).items())
            mine = rows[int(found.offsets[i]) : int(found.offsets[i + 1])]
            assert len({time for _, time, _ in mine}) == len(mine), "a histogram is there twice"
            assert all(str(row.count) == labels[1][1] for _, _, row in mine), "a histogram of another series"
            out[workspace, labels] = {time: row.sum_bits for _, time, row in mine}
        return out

    def compare(self) -> None:
        """Check what is there against what was acknowledged; take it as the truth from here on."""
        found = self.found()
        for key, series in self.samples.items():
            for time, bits in series.items():
                self._check_kept(key, time, bits, found.get(key, {}).get(time))
        for key, series in found.items():
            for time, bits in series.items():
                known = self.samples.get(key, {}).get(time)
                assert known == bits or bits in self.maybe.get(key, {}).get(time, ()), (
                    f"{key} at {time}: {bits:#x} is there, and was deleted or never sent; {known=}"
                )
        self._compare_families()
        for workspace in WORKSPACES:
            engine = self.store.engine(workspace)
            statistics = engine.block_set.statistics
            assert (statistics.missing, statistics.set_aside) == (0, 0)
        self.samples = {key: dict(series) for key, series in found.items()}
        self._begin_life()

    def _check_kept(self, key: Key, time: int, bits: int, there: int | None) -> None:
        if there == bits or (bits == STALE_BITS and there in self.maybe.get(key, {}).get(time, ())):
            return
        workspace, labels = key
        deleted = any(
            (owner, name) == (workspace, labels[0][1]) and start <= time <= end
            for owner, name, start, end in self.maybe_deleted
        )
        lost = there is not None or not deleted
        assert not lost, f"{key} at {time}: {bits:#x} was acknowledged, {there} is there"

    def _compare_families(self) -> None:
        for workspace in WORKSPACES:
            found = {row.family: row for row in self.store.engine(workspace).metadata()}
            maybe = [row for owner, row in self.maybe_families if owner == workspace]
            for family, row in self.families[workspace].items():
                assert found[family] == row or found[family] in maybe, f"metadata of {family}"
            self.families[workspace] = found
