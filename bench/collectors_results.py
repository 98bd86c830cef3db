"""What runs of the harness say, a row for each program and piece of work."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.collectors_rules import SUFFIX, USUAL_RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

WORK = {
    "otlp_grpc_nop": "OTLP gRPC → nop",
    "otlp_http_nop": "OTLP HTTP → nop",
    "otlp_grpc_full": "OTLP gRPC → memory_limiter → queue with batch → OTLP/HTTP",
    "scrape_100k": "scrape 100 k samples/s of 500 k series, {rules} relabel rules → remote_write",
    "rw": "remote_write → 5 rules → remote_write",
}
KEPT_OF_SCRAPED = 0.9
"""The usual rules drop a tenth of what targets serve."""


class Row(NamedTuple):
    """The median of some runs of a program.

    Attributes:
        work: What it did.
        program: Its entry.
        runs: That went well.
        failures: What went wrong in the others.
        cpu_us: Microseconds of CPU for an item that came in.
        cpu_us_least: In its best run.
        cpu_us_most: In its worst run.
        items_per_s: Items that came in.
        rss_peak_mib: The highest of all runs.
        expected: Items that should have come to the sink; None where there is none.
        arrived: Items that were counted there.
        verified: Of the requests that go ahead of the load, whose points are counted one by one: share that arrived.
        refused: Requests that the program did not take, so that the sender repeated them.
        other_cores: What other processes of the machine used meanwhile.
    """

    work: str
    program: str
    runs: int
    failures: list[str]
    cpu_us: float | None
    cpu_us_least: float | None
    cpu_us_most: float | None
    items_per_s: float | None
    rss_peak_mib: int | None
    expected: int | None
    arrived: int | None
    verified: float | None
    refused: int
    other_cores: float | None


def rows(runs: Iterable[dict[str, Any]]) -> list[Row]:
    """Put the runs of a program and piece of work together."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["scenario"], run["entry"]), []).append(run)
    return [_row(scenario, entry, group) for (scenario, entry), group in groups.items()]


def _row(scenario: str, entry: str, group: list[dict[str, Any]]) -> Row:
    program, _, more = entry.partition(SUFFIX)
    good = [run for run in group if "error" not in run and run.get("items")]
    costs = [run["cpu_us"] for run in good]
    counts = [_counts(run) for run in good]
    return Row(
        work=WORK.get(scenario, scenario).format(rules=more or USUAL_RULES),
        program=program,
        runs=len(good),
        failures=[run.get("error", "no items") for run in group if run not in good],
        cpu_us=_median(costs),
        cpu_us_least=min(costs, default=None),
        cpu_us_most=max(costs, default=None),
        items_per_s=_median([run["items_s"] for run in good]),
        rss_peak_mib=max((run["rss_peak"] for run in good), default=None),
        expected=_total([expected for expected, _ in counts]),
        arrived=_total([arrived for _, arrived in counts]),
        verified=min((run["verify_got"] / run["verify_want"] for run in good if "verify_got" in run), default=None),
        refused=sum(run.get("errors", 0) for run in good),
        other_cores=_median([run["other_cores"] for run in good]),
    )


def _counts(run: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return how many items should have come to the sink, and how many did.

    Of a scrape, in a window of some seconds: what is under way at its ends makes a difference. Of the others, up to
    the end of the load; where the harness drops bodies unread, it counts their bytes and divides.
    """
    if "delivered" in run:
        return round(run["items"] * KEPT_OF_SCRAPED), run["delivered"]
    if "total_delivered" in run:
        return round(run["total_delivered"] / run["deliver_ratio"]), run["total_delivered"]
    return None, None


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _total(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def slow_downs(made: list[Row]) -> dict[str, float]:
    """Return how many times as much CPU a sample costs each program with more rules."""
    scrapes = [row for row in made if row.work.startswith("scrape") and row.cpu_us is not None]
    usual = {row.program: row.cpu_us for row in scrapes if row.work == WORK["scrape_100k"].format(rules=USUAL_RULES)}
    found = {}
    for row in scrapes:
        few = usual.get(row.program)
        if few and row.cpu_us and row.work != WORK["scrape_100k"].format(rules=USUAL_RULES):
            found[row.program] = round(row.cpu_us / few, 3)
    return found


def lines(made: list[Row]) -> list[str]:
    """Return a table in Markdown."""
    head = ("work", "program", "CPU us/item", "items/s", "peak RSS MiB", "arrived / expected", "verified", "refused")
    body = [
        (
            row.work,
            row.program,
            _cost(row),
            _text(row.items_per_s, ",.0f"),
            _text(row.rss_peak_mib, ",d"),
            f"{row.arrived:,} / {row.expected:,}" if row.expected else "",
            _text(row.verified, ".4f"),
            f"{row.refused:,}",
        )
        for row in made
    ]
    return [_line(head), _line(("---",) * len(head)), *map(_line, body)]


def _cost(row: Row) -> str:
    if row.cpu_us is None:
        return f"failed: {row.failures[0][:100]}"
    return f"{row.cpu_us:.2f} [{row.cpu_us_least:.2f} to {row.cpu_us_most:.2f}]"


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
