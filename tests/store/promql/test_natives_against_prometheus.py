"""The same native histograms in a real Prometheus and in the evaluator: what operators and functions make of them.

Series are counters that start again, change their resolution and end; gauges; histograms with bounds of their own; and
series that are numbers at some times. Where the evaluator follows a newer Prometheus, the data keep out of the way:
counters never start near zero, and bounds of a metric are the same everywhere.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, ResetHint
from headrace.testing.promql_script_histograms import Histogram
from headrace.testing.promql_script_values import STALE
from prometheus_oracle import Series
from promql_fuzz import otherwise
from promql_fuzz.cases import given
from promql_fuzz.layouts import alike
from promql_fuzz.pair import Pair
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from promql_fuzz.compare import Difference
    from promql_fuzz.pair import Answers

pytestmark = pytest.mark.peer

STEP_MS = 15_000
SAMPLES = 120

Line = list[tuple[int, float | Histogram]]


@dataclass
class Source:
    """A histogram that observes things.

    Args:
        rng: Source of all choices.
        schema: Of the histogram.
        bounds: With custom buckets.
    """

    rng: random.Random
    schema: int = 0
    bounds: tuple[float, ...] = ()
    now: Histogram = field(init=False)

    def __post_init__(self) -> None:
        self.now = self._begin()

    def _begin(self) -> Histogram:
        """Begin with many observations, so that no counter is near zero."""
        rng = self.rng
        counts = {index: float(rng.randrange(1_000, 9_000)) for index in self._indices()}
        if self.schema == CUSTOM_BUCKETS:
            return self._with(counts, {}, 0.0, 0.0)
        below = {index: float(rng.randrange(1_000, 9_000)) for index in self._indices() if rng.random() < 0.4}
        return self._with(counts, below, float(rng.randrange(900, 2_000)), 1e-20)

    def _indices(self) -> list[int]:
        if self.schema == CUSTOM_BUCKETS:
            return [i for i in range(len(self.bounds) + 1) if self.rng.random() < 0.8] or [0]
        return sorted({self.rng.randrange(-12, 12) for _ in range(self.rng.randrange(3, 14))})

    def _with(self, above: dict[int, float], below: dict[int, float], zero: float, threshold: float) -> Histogram:
        count = sum(above.values()) + sum(below.values()) + zero
        return Histogram(
            self.schema, count, self.rng.uniform(-5, 50) * count, threshold, zero, above, below, self.bounds,
            ResetHint.UNKNOWN,
        )  # fmt: skip

    def observe(self) -> Histogram:
        """Return what there is after some more observations."""
        rng, old = self.rng, self.now
        above, below = dict(old.positive), dict(old.negative)
        for _ in range(rng.randrange(1, 4)):
            index = rng.choice(self._indices())
            side = above if self.schema == CUSTOM_BUCKETS or rng.random() < 0.7 else below
            side[index] = side.get(index, 0.0) + rng.choice([0.5, 1.0, 20.0])
        zero = old.zero_count + (rng.randrange(3) if self.schema != CUSTOM_BUCKETS else 0)
        more = self._with(above, below, float(zero), old.zero_threshold)
        self.now = replace(more, sum=old.sum + (more.count - old.count) * rng.uniform(-1, 5))
        return self.now

    def restart(self) -> None:
        """Forget half of all observations."""
        old = self.now
        above, below = ({index: n // 2 for index, n in side.items()} for side in (old.positive, old.negative))
        self.now = replace(self._with(above, below, old.zero_count // 2, old.zero_threshold), sum=old.sum / 2)

    def coarsen(self) -> None:
        """Halve the resolution."""
        if self.schema == CUSTOM_BUCKETS or self.schema <= -4:
            return
        self.schema -= 1
        sides: list[dict[int, float]] = [{}, {}]
        for merged, side in zip(sides, (self.now.positive, self.now.negative), strict=True):
            for index, count in side.items():
                merged[((index - 1) >> 1) + 1] = merged.get(((index - 1) >> 1) + 1, 0.0) + count
        self.now = replace(self.now, schema=self.schema, positive=sides[0], negative=sides[1])


def times(rng: random.Random) -> list[int]:
    """Make times with jitter, single gaps and one long gap."""
    gap = rng.randrange(SAMPLES)
    kept = [i for i in range(SAMPLES) if rng.random() > 0.03 and not gap <= i < gap + 12]
    return [i * STEP_MS + rng.choice([0, 0, rng.randrange(-3000, 3000)]) for i in kept]


def counter(rng: random.Random, source: Source) -> Line:
    """Make a counter that starts again, coarsens and ends now and then."""
    line: Line = []
    for time in times(rng):
        chance = rng.random()
        if chance < 0.02:
            line.append((time, STALE))
            continue
        if chance < 0.05:
            source.restart()
        elif chance < 0.06:
            source.coarsen()
        line.append((time, source.observe()))
    return line


def gauge(rng: random.Random, source: Source) -> Line:
    """Make a gauge."""
    line: Line = []
    for time in times(rng):
        if rng.random() < 0.3:
            source.restart()
        line.append((time, replace(source.observe(), hint=ResetHint.GAUGE)))
    return line


def make_data(seed: int) -> list[Series]:
    """Make all series."""
    rng = random.Random(seed)
    data: list[tuple[dict[str, str], Line]] = []
    for job in ("api", "db"):
        for instance in ("a", "b", "c"):
            base = {"job": job, "instance": instance}
            data.append(({"__name__": "latency", **base}, counter(rng, Source(rng, rng.choice([0, 1, 2, 3])))))
            data.append(
                ({"__name__": "size", **base}, counter(rng, Source(rng, CUSTOM_BUCKETS, (-1.0, 0.5, 2.0, 8.0))))
            )
            data.append(({"__name__": "depth", **base}, gauge(rng, Source(rng, rng.choice([-1, 0, 8])))))
            data.append(({"__name__": "limit", **base}, [(t, float(rng.randrange(-2, 4))) for t in times(rng)]))
        mixed = counter(rng, Source(rng, 1))
        data.append(({"__name__": "mixed", "job": job}, [(t, 7.0 if (t // 120_000) % 3 == 0 else v) for t, v in mixed]))
        data.append(({"__name__": "either", "job": job, "kind": "exponential"}, counter(rng, Source(rng, 0))))
        data.append(
            (
                {"__name__": "either", "job": job, "kind": "custom"},
                counter(rng, Source(rng, CUSTOM_BUCKETS, (1.0, 2.0))),
            )
        )
    for le in ("1", "5", "+Inf"):
        labels = {"__name__": "latency", "job": "api", "instance": "a", "le": le}
        data.append((labels, [(t, 5.0 + len(le)) for t in times(rng)]))
    return [Series(labels, alike(line)) for labels, line in data]


@pytest.fixture(scope="module")
def data() -> list[Series]:
    return make_data(5)


@pytest.fixture(scope="module")
def pair(peers: Path, tmp_path_factory: pytest.TempPathFactory, data: list[Series]) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with Programs(folder) as programs:
        both = Pair(programs, peers, folder, data, delayed=False, alike=True)
        yield both
        both.close()


OVER_TIME = ["sum", "avg", "count", "last", "present", "min", "max", "stddev", "stdvar", "quantile", "mad"]

QUERIES = [
    *(
        f"{function}({selector}[{window}])"
        for function in ("rate", "increase", "delta", "irate", "idelta", "resets", "changes", "deriv")
        for selector, window in (
            ("latency", "2m"), ("size", "5m"), ("depth", "3m"), ("mixed", "4m"), ("latency", "29s"), ("either", "7m"),
        )
    ),
    *(
        f"{function}_over_time({'0.5, ' if function == 'quantile' else ''}{selector}[{window}])"
        for function in OVER_TIME
        for selector, window in (("latency", "2m"), ("size", "5m"), ("depth", "1m"), ("mixed", "4m"))
    ),
    *(
        f"{op}{by}({vector})"
        for op in ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
        for by in ("", " by (job)")
        for vector in ("latency", "size", "depth", "mixed", "rate(latency[5m])", "either", "{job='api'}")
    ),
    "topk(2, latency)", "bottomk(2, {__name__=~'latency|limit'})", "quantile(0.5, mixed)", "limitk(2, latency)",
    "limit_ratio(0.5, latency)", 'count_values("value", mixed)', 'count_values by (job) ("value", size)',
    "latency + latency", "latency - latency", "latency + on(job, instance) depth", "latency - on(job, instance) size",
    "size + size offset 1m", "size - size offset 1m", "latency - latency offset 90s", "latency * 2", "2 * latency",
    "latency / 3", "latency / 0", "latency * -1", "-depth", "+depth", "latency + 1", "1 - latency", "1 / latency",
    "latency ^ 2", "latency % 2", "latency atan2 latency", "latency == latency", "latency != latency",
    "latency == bool latency", "latency != bool latency offset 1m", "latency > latency", "latency > 2",
    "latency == 1", "latency * latency", "latency / latency", "latency * on(job, instance) limit",
    "limit * on(job, instance) latency", "latency / on(job, instance) limit", "limit / on(job, instance) latency",
    "limit + on(job, instance) latency", "mixed * 2", "mixed + mixed", "mixed * on(job) group_right latency",
    "latency * on(job, instance) group_left limit", "latency and on(job, instance) limit > 0",
    "latency or limit", "limit or on(job, instance) depth", "latency unless on(job, instance) depth",
    "abs(mixed)", "clamp(mixed, 0, 5)", "sort(mixed)", "sort_by_label(latency, 'job')", "scalar(mixed{job='api'})",
    "label_replace(latency, 'x', '$1', 'job', '(.*)')", "label_join(depth, 'x', '-', 'job', 'instance')",
    "timestamp(mixed)", "absent(latency)", "absent_over_time(depth[20s])", "count(mixed) by (job)",
    *(
        f"{function}({vector})"
        for function in ("histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar")
        for vector in ("latency", "size", "rate(latency[5m])", "mixed", "sum(depth)", "delta(depth[2m])")
    ),
    *(
        f"histogram_quantile({q}, {vector})"
        for q in ("0", "0.1", "0.5", "0.99", "1", "-1", "2", "NaN")
        for vector in ("latency", "size", "sum by (job) (rate(latency[5m]))", "mixed")
    ),
    *(
        f"histogram_fraction({low}, {high}, {vector})"
        for low, high in (("0", "1"), ("-Inf", "0.3"), ("-2", "5"), ("0.3", "+Inf"), ("3", "1"), ("NaN", "1"))
        for vector in ("depth", "size{instance='a'}", "rate(latency[5m])")
    ),
    "histogram_quantile(0.9, sum(rate(size[5m])))", "histogram_quantile(scalar(limit{job='api',instance='a'}), size)",
    "rate(latency[5m:30s])", "sum_over_time(latency[2m:20s])", "avg_over_time(rate(latency[1m])[3m:])",
    "last_over_time(sum(latency)[2m:])", "increase(sum(latency)[3m:15s])", "resets(sum by (job) (latency)[5m:17s])",
    "changes((latency * 1)[5m:20s])", "irate(size[2m:7s])", "count_over_time(mixed[4m:11s])",
    "rate(latency[5m] @ end())", "latency @ end()", "rate(latency[3m] offset 2m)", "sum(latency offset 1m)",
    "latency[1m]", "mixed[5m]", "size[2m] offset 1m", "(latency * 2)[1m:20s]",
]  # fmt: skip

RANGES_MS = [(0, 2_000_000, 60_000), (300_000, 700_000, 13_000)]
INSTANTS_MS = [0, 601_000, 1_234_500, 1_799_000, 2_100_000]


def differences(pair: Pair, query: str) -> list[str]:
    """Compare at all times."""
    cases = [given(query, time_ms) for time_ms in INSTANTS_MS]
    if not query.endswith("]") and "] offset" not in query[-12:]:
        cases += [given(query, *times_ms) for times_ms in RANGES_MS]
    return [
        f"{case.times_ms}: {found.kind}: {found.detail}"
        for case in cases
        if (found := _unexplained(pair, pair.ask(case))) is not None
    ]


def _unexplained(pair: Pair, answers: Answers) -> Difference | None:
    if answers.difference is None or otherwise.reason(pair, answers) is not None:
        return None
    return answers.difference


@pytest.mark.parametrize("query", QUERIES)
def test_answers_are_those_of_prometheus(query: str, pair: Pair) -> None:
    """At five times and over two ranges, everything that the HTTP API shows is equal, samples counted included."""
    assert not differences(pair, query)


def test_the_data_have_all_kinds(data: list[Series]) -> None:
    """Counters that start again, gauges, custom buckets, several schemas, and series of numbers and histograms."""
    rows = [value for one in data for _, value in one.points if isinstance(value, Histogram)]
    assert {row.schema for row in rows} >= {CUSTOM_BUCKETS, 0, 8}
    assert any(row.hint is ResetHint.GAUGE for row in rows)
    assert any({float, Histogram} == {type(value) for _, value in one.points} for one in data)
    assert not any(math.isnan(row.sum) for row in rows)
