"""Answers about the daemon itself: targets, build, run time."""

from __future__ import annotations

import os
import socket
import threading
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.pipeline.targets import ActiveTarget, TargetsSource
    from headrace.store.api.backend import BlockFacts, HeadFacts
    from headrace.store.cardinality import Cardinality, Ranking

_PROMETHEUS = "3.14.0"
"""The Prometheus whose language and API this is. Clients such as Grafana choose their features by it."""

_NEVER = "0001-01-01T00:00:00Z"
_NS = 1_000_000_000
_UNITS_MS = (
    ("y", 31_536_000_000), ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000),
    ("ms", 1),
)  # fmt: skip
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def buildinfo() -> dict[str, str]:
    """Return the version as Prometheus tells it."""
    return {
        "version": _PROMETHEUS,
        "revision": f"headrace {headrace_version()}",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }


def headrace_version() -> str:
    """Return the version of the installed package."""
    try:
        return version("headrace")
    except PackageNotFoundError:
        return "unknown"


def runtimeinfo(started_ns: int, now_ns: int, retention: str = "") -> dict[str, Any]:
    """Return those of Prometheus' facts that mean something here; its Go run time is left at nothing."""
    return {
        "startTime": rfc3339(started_ns),
        "CWD": os.getcwd(),  # noqa: PTH109 -- the text, not a path to work with
        "hostname": socket.gethostname(),
        "serverTime": rfc3339(now_ns),
        "reloadConfigSuccess": True,
        "lastConfigTime": rfc3339(started_ns),
        "corruptionCount": 0,
        "goroutineCount": threading.active_count(),
        "GOMAXPROCS": os.cpu_count() or 1,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": retention,
    }


def retention_text(time_ms: int, size_bytes: int = 0) -> str:
    """Print how long samples are kept, ``15d`` or ``15d or 10GiB``, as Prometheus does."""
    parts = []
    left = time_ms
    for unit, size in _UNITS_MS:
        if left >= size and (unit not in {"y", "w", "d"} or left % size == 0):
            parts.append(f"{left // size}{unit}")
            left %= size
    text = "".join(parts) or "0s"
    if not size_bytes:
        return text
    power = next(power for power in range(6, -1, -1) if size_bytes % 1024**power == 0)
    return f"{text} or {size_bytes // 1024**power}{_BINARY[power]}"


def targets(source: TargetsSource | None, state: str, pool: str) -> dict[str, Any]:
    """Return the targets of `source`.

    Args:
        source: Who scrapes; None for nobody.
        state: ``active`` or ``dropped``; nothing or ``any`` for both, as Prometheus takes anything else for neither.
        pool: Scrape job to limit the answer to; empty for all.
    """
    answer: dict[str, Any] = {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": None}
    found = source.targets() if source else None
    kind = state.lower() or "any"
    if kind in {"active", "any"} and found:
        kept = [target for target in found.active if pool in {"", target.scrape_pool}]
        answer["activeTargets"] = [_active(target) for target in kept]
    if kind in {"dropped", "any"}:
        counts = found.dropped_counts if found else {}
        answer["droppedTargetCounts"] = {name: count for name, count in counts.items() if pool in {"", name}}
        answer["droppedTargets"] = [
            {"discoveredLabels": dict(target.discovered_labels), "scrapePool": target.scrape_pool}
            for target in (found.dropped if found else ())
            if pool in {"", target.scrape_pool}
        ]
    return answer


def tsdb(facts: HeadFacts, found: Cardinality) -> dict[str, Any]:
    """Return the cardinality of a workspace in Prometheus' words."""
    return {
        "headStats": {
            "numSeries": facts.series,
            "numLabelPairs": found.pairs,
            "chunkCount": facts.chunks,
            "minTime": facts.min_ms,
            "maxTime": facts.max_ms,
        },
        "seriesCountByMetricName": _listed(found.metrics),
        "labelValueCountByLabelName": _listed(found.values),
        "memoryInBytesByLabelName": _listed(found.label_bytes),
        "seriesCountByLabelValuePair": _listed(found.label_pairs),
    }


def block(facts: BlockFacts) -> dict[str, Any]:
    """Return a block in Prometheus' words; its number stands at the end of what Prometheus makes random."""
    return {
        "ulid": ulid(facts.min_ms, facts.number),
        "minTime": facts.min_ms,
        "maxTime": facts.max_ms + 1,
        "stats": {"numSamples": facts.samples, "numSeries": facts.series},
        "compaction": {
            "level": facts.level + 1,
            "sources": [ulid(facts.min_ms, number) for number in facts.sources or (facts.number,)],
        },
        "version": 1,
    }


def ulid(time_ms: int, number: int) -> str:
    """Write a time and a number as a ULID does: 48 and 80 bits in 26 letters of Crockford's alphabet."""
    bits = max(time_ms, 0) % 2**48 << 80 | number % 2**80
    return "".join(_CROCKFORD[bits >> shift & 31] for shift in range(125, -1, -5))


def _listed(ranking: Ranking) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in ranking]


def rfc3339(ns: int) -> str:
    """Print Unix nanoseconds as Go prints times in JSON."""
    moment = datetime.fromtimestamp(ns // _NS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{ns % _NS:09d}".rstrip("0").rstrip(".")
    return f"{moment}{fraction}Z"


def _active(target: ActiveTarget) -> dict[str, Any]:
    return {
        "discoveredLabels": dict(target.discovered_labels),
        "labels": dict(target.labels),
        "scrapePool": target.scrape_pool,
        "scrapeUrl": target.scrape_url,
        "globalUrl": target.global_url or target.scrape_url,
        "lastError": target.last_error,
        "lastScrape": rfc3339(target.last_scrape_ns) if target.last_scrape_ns else _NEVER,
        "lastScrapeDuration": target.last_scrape_s,
        "health": target.health,
        "scrapeInterval": target.scrape_interval,
        "scrapeTimeout": target.scrape_timeout,
    }
