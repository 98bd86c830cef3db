"""Seeded samples of the kinds that servers, nodes and containers report: what the codec's figures are measured on.

Each class is a function of a generator, a number of series and a number of scrapes; it returns values of shape
(series, scrapes). `CLASSES` names them. `TIMES` does the same for the timestamps of one scraped target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

INTERVAL_MS = 15_000
START_MS = 1_700_000_000_000

_BUCKETS = 12
_IDLE = 0.3


def _counter(rng: np.random.Generator, n: int, scrapes: int, median: float, unit: float) -> NDArray[np.float64]:
    """Count events of Poisson arrivals whose rates lie log-normally; some series stand still."""
    rate = rng.lognormal(np.log(median), 1.5, n) * (rng.random(n) > _IDLE)
    start = rng.integers(0, 10_000_000, n)
    counts: NDArray[np.float64] = start[:, None] + unit * np.cumsum(rng.poisson(rate[:, None], (n, scrapes)), 1)
    return counts


def _seconds(rng: np.random.Generator, n: int, scrapes: int, digits: int) -> NDArray[np.float64]:
    """Add up seconds of CPU time, kept to some decimals; a fifth of the series stand still."""
    share = rng.beta(0.5, 4.0, n) * (rng.random(n) > 0.2)
    steps = 15.0 * share[:, None] * rng.uniform(0.7, 1.3, (n, scrapes))
    start = np.round(rng.random(n) * 1e6, digits)
    out = np.empty((n, scrapes))
    value = start
    for i in range(scrapes):
        value = np.round(value + steps[:, i], digits)
        out[:, i] = value
    return out


def _constant(_rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    limits = [0.5 * (1 + k % 8) if k % 2 == 0 else 2.0**28 * (1 + k % 16) for k in range(n)]
    return np.repeat(np.array(limits)[:, None], scrapes, 1)


def _centiseconds(rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    return _seconds(rng, n, scrapes, 2)


def _nanoseconds(rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    return _seconds(rng, n, scrapes, 9)


def _decimals(rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    """Walk at random, kept to one or two decimals: load, temperature."""
    scale = np.where(rng.random(n) < 0.5, 10.0, 100.0)[:, None]
    walk = np.abs(rng.uniform(0.5, 90.0, n)[:, None] + np.cumsum(rng.normal(0, 0.4, (n, scrapes)), 1))
    out: NDArray[np.float64] = np.round(walk * scale) / scale
    return out


def _histogram(rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    """Twelve cumulative buckets, then the sum, of full precision, and the count; `n` is rounded to whole histograms."""
    n = max(n // (_BUCKETS + 2), 1)
    rate = rng.lognormal(np.log(10), 1.5, n) * (rng.random(n) > _IDLE)
    peak = rng.integers(2, 8, n)[:, None]
    weight = np.exp(-0.5 * ((np.arange(_BUCKETS)[None, :] - peak) / 1.5) ** 2)
    mean = rate[:, None] * weight / weight.sum(1, keepdims=True)
    found = rng.poisson(mean[:, :, None], (n, _BUCKETS, scrapes))
    before = rng.poisson(mean * 500)
    buckets = np.cumsum(before[:, :, None] + np.cumsum(found, 2), 1).astype(float)
    seconds = np.array([0.003, 0.007, 0.017, 0.04, 0.07, 0.17, 0.4, 0.7, 1.7, 3.5, 7.0, 12.0])
    spent = (found * seconds[None, :, None]).sum(1) * rng.uniform(0.9, 1.1, (n, scrapes))
    total = rng.random(n)[:, None] * 1000 + np.cumsum(spent, 1)
    whole: NDArray[np.float64] = np.concatenate([buckets, total[:, None, :], buckets[:, -1:, :]], 1)
    return whole.reshape(-1, scrapes)


def _requests(rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    return _counter(rng, n, scrapes, 20.0, 1.0)


def _network(rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    return _counter(rng, n, scrapes, 3000.0, 7.0)


def _pages(rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    """Bytes in whole pages of 4 KiB that move in half of the scrapes."""
    move = np.round(rng.normal(0, 60, (n, scrapes))) * (rng.random((n, scrapes)) < 0.5)
    pages = rng.integers(1000, 500_000, n)[:, None] + np.cumsum(move, 1)
    out: NDArray[np.float64] = np.maximum(pages, 1.0) * 4096.0
    return out


def _random(rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    """Doubles of full precision around a level of the series' own."""
    out: NDArray[np.float64] = rng.lognormal(-8, 1, n)[:, None] * rng.lognormal(0, 0.3, (n, scrapes))
    return out


def _status(rng: np.random.Generator, n: int, scrapes: int) -> NDArray[np.float64]:
    """0 or 1, which flips in one of 10,000 scrapes."""
    flips = np.cumsum(rng.random((n, scrapes)) < 1e-4, 1)
    values: NDArray[np.float64] = ((np.arange(n)[:, None] % 5 == 1) ^ (flips % 2 == 1)).astype(np.float64)
    return values


CLASSES: dict[str, Callable[[np.random.Generator, int, int], NDArray[np.float64]]] = {
    "constant": _constant,
    "status": _status,
    "requests": _requests,
    "histogram": _histogram,
    "centiseconds": _centiseconds,
    "decimals": _decimals,
    "pages": _pages,
    "network": _network,
    "nanoseconds": _nanoseconds,
    "random": _random,
}
"""Classes of values, by name."""

INTEGERS = ("constant", "status", "requests", "centiseconds", "decimals", "pages", "network", "nanoseconds")
"""The classes whose values are integers, after scaling."""

MIX = {
    "requests": 10, "histogram": 21, "centiseconds": 10, "decimals": 8, "network": 8, "nanoseconds": 9,
    "pages": 12, "status": 12, "constant": 5, "random": 5,
}  # fmt: skip
"""Series of each class among a hundred, as of some applications, nodes and containers together."""


def _regular(_rng: np.random.Generator, scrapes: int) -> NDArray[np.int64]:
    return START_MS + INTERVAL_MS * np.arange(scrapes, dtype=np.int64)


def _late(rng: np.random.Generator, scrapes: int) -> NDArray[np.int64]:
    """One scrape in fifty is up to 19 ms late."""
    late: NDArray[np.int64] = _regular(rng, scrapes) + (rng.random(scrapes) < 0.02) * rng.integers(1, 20, scrapes)
    return late


def _jittered(rng: np.random.Generator, scrapes: int) -> NDArray[np.int64]:
    """Each scrape is off by some milliseconds, as of senders that sleep between sends."""
    off = np.round(rng.normal(0, 5, scrapes)).astype(np.int64)
    jittered: NDArray[np.int64] = _regular(rng, scrapes) + off
    return jittered


TIMES: dict[str, Callable[[np.random.Generator, int], NDArray[np.int64]]] = {
    "regular": _regular,
    "late": _late,
    "jittered": _jittered,
}
"""Kinds of timestamps, by name."""
