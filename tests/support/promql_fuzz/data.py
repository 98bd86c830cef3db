"""Random series: counters that begin anew, gauges with odd numbers, histograms of all kinds, and gaps everywhere."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, ResetHint
from headrace.testing.promql_script_histograms import Histogram
from headrace.testing.promql_script_values import STALE
from prometheus_oracle import Series

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

STEP_MS = 15_000
SAMPLES = 80
SPAN_MS = STEP_MS * SAMPLES

_ODD = (math.nan, math.inf, -math.inf, -0.0, 1e-300, 1e300, -1e300, 5e-324, 1e17, 0.1)
_BOUNDS = ((1.0, 5.0, 10.0), (1.0, 5.0), (0.5, 1.0, 2.0, 10.0), (-3.0, 0.0, 2.5))
_LOWEST = -3
_LES = ("0.1", "1", "2.50", "1e1", "+Inf")

Points = list[tuple[int, float | Histogram]]


def make(rng: random.Random) -> list[Series]:
    """Make the series of a data set, sorted by labels."""
    found = [*_plain(rng), *_classic(rng), *_native(rng), *_information(rng)]
    return sorted((one for one in found if one.points), key=lambda one: sorted(one.labels.items()))


def _targets(rng: random.Random) -> Iterator[dict[str, str]]:
    for job in ("a", "b"):
        for instance in ("0", "1", "10"):
            if rng.random() < 0.85:
                yield {"job": job, "instance": instance}


def _plain(rng: random.Random) -> Iterator[Series]:
    for labels in _targets(rng):
        for code in ("200", "500"):
            yield Series({"__name__": "c_total", **labels, "code": code}, _points(rng, _counter(rng)))
        yield Series({"__name__": "g", **labels}, _points(rng, _gauge(rng)))
        yield Series({"__name__": "small", **labels}, _points(rng, lambda: float(rng.randrange(-2, 4))))
        if rng.random() < 0.6:
            yield Series({"__name__": "limit", **labels, "env": rng.choice(["x", "y"])}, _points(rng, lambda: 10.0))
    yield Series({"__name__": "one"}, _points(rng, _counter(rng)))
    yield Series({"__name__": "utf.8", "job": "a", "l.x": '\N{SNOWMAN}"\\'}, _points(rng, _gauge(rng)))


def _classic(rng: random.Random) -> Iterator[Series]:
    for labels in _targets(rng):
        times = _times(rng)
        counts = [0.0] * len(_LES)
        rows: list[Points] = [[] for _ in _LES]
        for time_ms in times:
            if rng.random() < 0.03:
                counts = [0.0] * len(_LES)
            for i in range(rng.randrange(len(_LES)), len(_LES)):
                counts[i] += rng.randrange(5)
            total = 0.0
            for i, count in enumerate(counts):
                total += count
                dip = 3.0 if i == 2 and rng.random() < 0.05 else 0.0
                rows[i].append((time_ms, max(0.0, total - dip)))
        left_out = rng.randrange(len(_LES)) if rng.random() < 0.2 else -1
        for i, le in enumerate(_LES):
            if i != left_out:
                yield Series({"__name__": "lat_bucket", **labels, "le": le}, rows[i])
    if rng.random() < 0.3:
        yield Series({"__name__": "lat_bucket", "job": "b", "le": "many"}, _points(rng, _gauge(rng)))


def _native(rng: random.Random) -> Iterator[Series]:
    nan = 0.003 if rng.random() < 0.25 else 0.0
    for labels in _targets(rng):
        integers = rng.random() < 0.5
        yield Series({"__name__": "h", **labels}, _points(rng, _growing(rng, integers=integers, nan=nan)), integers)
        if rng.random() < 0.6:
            made = _growing(rng, integers=False, gauge=True, nan=nan)
            yield Series({"__name__": "hg", **labels}, _points(rng, made))
        if rng.random() < 0.7:
            yield Series({"__name__": "hc", **labels}, _points(rng, _custom(rng)), integers=True)
        if rng.random() < 0.5:
            yield Series({"__name__": "mix", **labels}, _points(rng, _mixed(rng)))


def _information(rng: random.Random) -> Iterator[Series]:
    for labels in _targets(rng):
        if rng.random() < 0.8:
            more = {"version": rng.choice(["1", "2"]), "sdk": "go"}
            yield Series({"__name__": "target_info", **labels, **more}, _points(rng, lambda: 1.0))
        if rng.random() < 0.3:
            yield Series({"__name__": "build_info", **labels, "rev": rng.choice("pq")}, _points(rng, lambda: 1.0))


# -- times and values ------------------------------------------------------------------------------------------


def _times(rng: random.Random) -> list[int]:
    """Make times with jitter, single gaps and a long one."""
    gap, length = rng.randrange(SAMPLES), rng.choice([0, 0, 5, 30])
    lost = rng.choice([0.0, 0.03, 0.3])
    jitter = rng.choice([0, 0, 1, 2000])
    first = rng.choice([0, 0, 0, 20, 60])
    kept = [i for i in range(first, SAMPLES) if rng.random() >= lost and not gap <= i < gap + length]
    return sorted({max(0, i * STEP_MS + rng.randrange(-jitter, jitter + 1)) for i in kept})


def _points(rng: random.Random, value: Callable[[], float | Histogram]) -> Points:
    stale = rng.choice([0.0, 0.0, 0.02])
    return [(time_ms, STALE if rng.random() < stale else value()) for time_ms in _times(rng)]


def _counter(rng: random.Random) -> Callable[[], float]:
    state = [rng.choice([0.0, 5.0, rng.random() * 1000])]
    whole = rng.random() < 0.5

    def grow() -> float:
        if rng.random() < 0.03:
            state[0] = rng.choice([0.0, 3.0])
        state[0] += rng.choice([0, 1, 7]) if whole else rng.random() * 100
        return float(state[0])

    return grow


def _gauge(rng: random.Random) -> Callable[[], float]:
    odd = rng.random() < 0.3
    scale = rng.choice([1.0, 50.0, 1e6])

    def draw() -> float:
        if odd and rng.random() < 0.1:
            return rng.choice(_ODD)
        return float(round(rng.gauss(0, scale), rng.choice([0, 3])))

    return draw


def _growing(rng: random.Random, *, integers: bool, gauge: bool = False, nan: float = 0.0) -> Callable[[], Histogram]:
    """Return a source of exponential histograms whose counts grow, and that begin anew now and then.

    Args:
        rng: Source of all choices.
        integers: Whether counts are whole.
        gauge: Whether they may shrink.
        nan: How likely it is that something without a value was observed.
    """
    hint = ResetHint.GAUGE if gauge else None

    def begin() -> Histogram:
        threshold = rng.choice([0.0, 0.001, 0.5])
        schema = rng.choice([-1, 0, 0, 1, 3])
        # No bucket lies within the zero bucket: of such, averages were something else before they had exact sums.
        lowest[0] = math.ceil(math.log2(threshold) * 2.0**schema) + 1 if threshold else _LOWEST
        return Histogram(schema=schema, zero_threshold=threshold, hint=hint)

    lowest = [_LOWEST]
    state = [begin()]
    negatives = rng.random() < 0.4
    fixed = rng.random() < 0.7

    def grow() -> Histogram:
        if rng.random() < 0.03:
            empty = replace(state[0], count=0.0, sum=0.0, zero_count=0.0, positive={}, negative={})
            state[0] = empty if fixed else begin()
        was = state[0]
        unit = 1.0 if integers else rng.choice([1.0, 0.25])
        positive, negative = dict(was.positive), dict(was.negative)
        for buckets in (positive, negative)[: 2 if negatives else 1]:
            for _ in range(rng.randrange(3)):
                index = max(lowest[0], rng.randrange(_LOWEST, 5)) + (40 if rng.random() < 0.02 else 0)
                buckets[index] = buckets.get(index, 0.0) + unit * rng.randrange(1, 4)
        zero = was.zero_count + (unit if rng.random() < 0.3 else 0.0)
        if gauge and rng.random() < 0.2:
            positive = {index: count / 2 for index, count in positive.items()}
        count = zero + sum(positive.values()) + sum(negative.values())
        total = math.nan if rng.random() < nan else was.sum + round(rng.gauss(3, 5), 1)
        state[0] = replace(was, count=count, sum=total, zero_count=zero, positive=positive, negative=negative)
        made = state[0]
        if math.isnan(total):
            state[0] = replace(made, sum=0.0)
        return made

    return grow


def _custom(rng: random.Random) -> Callable[[], Histogram]:
    """Return a source of histograms with custom buckets, of which the bounds change seldom."""

    def begin() -> Histogram:
        return Histogram(schema=CUSTOM_BUCKETS, bounds=rng.choice(_BOUNDS))

    state = [begin()]

    def grow() -> Histogram:
        if rng.random() < 0.04:
            state[0] = begin()
        was = state[0]
        positive = dict(was.positive)
        for _ in range(rng.randrange(3)):
            index = rng.randrange(len(was.bounds) + 1)
            positive[index] = positive.get(index, 0.0) + rng.randrange(1, 4)
        total = was.sum + round(rng.random() * 9, 1)
        state[0] = replace(was, count=sum(positive.values()), sum=total, positive=positive)
        return state[0]

    return grow


def _mixed(rng: random.Random) -> Callable[[], float | Histogram]:
    sources: tuple[Callable[[], float | Histogram], ...] = (
        _counter(rng), _growing(rng, integers=False), _custom(rng), _growing(rng, integers=False, gauge=True),
    )  # fmt: skip
    current = [sources[0]]

    def draw() -> float | Histogram:
        if rng.random() < 0.15:
            current[0] = rng.choice(sources)
        return current[0]()

    return draw
