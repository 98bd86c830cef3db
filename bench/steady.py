"""An hour at 100 k samples a second: are memory and CPU flat?

A hundred targets of 5,000 series are scraped every five seconds, five rules for relabelling, and all goes out by remote
write: the row ``scrape_100k`` of `bench.collectors`, for as long as one likes. What targets served and what the daemon
scraped, sent and dropped by its own count is looked at every ten seconds, with the memory and the CPU that it takes.

``python -m bench.steady --minutes 60`` writes ``build/steady.json`` and a picture, ``build/steady.svg``; it ends with 1
where samples were lost, or where memory or CPU grew. What they grew by is the slope of a straight line through all
looks after the first ten minutes (in shorter runs, after a third), times the time that these span.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from bench.compare_stores import free_port
from bench.curves import Curve, picture
from bench.harness import HARNESS, Part, Scenario, known_entries, until
from bench.scrape_stand import BUILD, Watched, report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TARGETS = 100
SERIES = 5000
INTERVAL_S = 5

_ACCEPTED = "otelcol_receiver_accepted_metric_points_total"
_SENT = "otelcol_exporter_sent_metric_points_total"
_FAILED = "otelcol_exporter_send_failed_metric_points_total"
_REPORTS = 5
"""Samples that a scrape brings about itself, such as ``up``."""

_SETTLED_S = 600
_FLAT_MEMORY, _FLAT_CPU = 0.02, 0.1
"""Share of the mean that memory and CPU may grow by once it has settled; others on the machine change the second."""


class Look(NamedTuple):
    """What there is to see at one time, since the measurement began.

    Attributes:
        seconds: When.
        rss_mib: Resident memory of the daemon.
        cpu_s: CPU time of the daemon.
        served: Samples that targets have served.
        accepted: Samples that the daemon has scraped.
        sent: Samples that it has sent.
        failed: Samples that it could not send.
        received_bytes: What came to the sink.
    """

    seconds: float
    rss_mib: float
    cpu_s: float
    served: int
    accepted: int
    sent: int
    failed: int
    received_bytes: int


class Stand:
    """Targets, sink and daemon, running.

    Args:
        harness: Folder of the harness.
        folder: For configuration and logs.
    """

    def __init__(self, harness: Path, folder: Path) -> None:
        sink, targets = str(free_port()), str(free_port())
        self.parts: list[Watched] = []
        try:
            self.sink = self._part(Part(harness, "sink.py", folder, sink, "0"))
            self.targets = self._part(Part(harness, "target.py", folder, targets, str(SERIES)))
            values = {
                "SINK": f"127.0.0.1:{sink}",
                "INTERVAL": str(INTERVAL_S),
                "SCRAPE_CONFIGS": scrape_configs(targets),
            }
            scenario = Scenario(known_entries(harness)["headrace"]["scenarios"]["scrape_100k"], folder, values)
            self.metrics = f"http://127.0.0.1:{scenario.ports[0]}/metrics"
            self.daemon = Watched(scenario.command, folder / "daemon.log")
            self.parts.append(self.daemon)
            until(scenario.is_ready, self.daemon)
        except BaseException:
            self.close()
            raise

    def _part(self, part: Part) -> Part:
        self.parts.append(part)
        return part

    def look(self, began_s: float) -> Look:
        """Return what there is to see."""
        with urllib.request.urlopen(self.metrics, timeout=60) as answer:
            text = answer.read().decode()
        return Look(
            seconds=time.monotonic() - began_s,
            rss_mib=self.daemon.rss_mib(),
            cpu_s=self.daemon.cpu_s(),
            served=self.targets.counters[1],
            accepted=total(text, _ACCEPTED),
            sent=total(text, _SENT),
            failed=total(text, _FAILED),
            received_bytes=self.sink.counters[1],
        )

    def close(self) -> None:
        """End all of them, the daemon first."""
        for part in reversed(self.parts):
            part.end()


def scrape_configs(port: str) -> str:
    """Return the job and the five rules of the harness."""
    rules: str = importlib.import_module("gen").RELABEL
    targets = "".join(
        f"  - targets: ['127.0.0.1:{port}']\n"
        f"    labels: {{__metrics_path__: /t/{i}/metrics, instance: 't{i:04d}:9100'}}\n"
        for i in range(TARGETS)
    )
    indented = "".join(f"  {line}\n" for line in rules.strip("\n").splitlines())
    return f"scrape_configs:\n- job_name: bench\n  static_configs:\n{targets}  metric_relabel_configs:\n{indented}"


def kept_series() -> int:
    """Count the series of a page that the rules for relabelling do not drop."""
    gen = importlib.import_module("gen")
    drops = [rule for rule in yaml.safe_load(gen.RELABEL) if rule.get("action") == "drop"]
    kept = 0
    for name, labels in gen.SERIES[:SERIES]:
        series = {"__name__": name, **labels}
        texts = (";".join(series.get(label, "") for label in rule["source_labels"]) for rule in drops)
        kept += not any(re.fullmatch(rule["regex"], text) for rule, text in zip(drops, texts, strict=True))
    return kept


def total(text: str, name: str) -> int:
    """Add up the values of a metric in Prometheus' text format."""
    found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
    return round(sum(map(float, found)))


def measured(stand: Stand, seconds: float, every_s: float, warm_up_s: float) -> list[Look]:
    """Look at a stand, from when the series are known on."""
    time.sleep(warm_up_s)
    began_s = time.monotonic()
    looks = [stand.look(began_s)]
    for number in itertools.count(1):
        time.sleep(max(0.0, began_s + number * every_s - time.monotonic()))
        looks.append(stand.look(began_s))
        if looks[-1].seconds >= seconds:
            return looks
    raise AssertionError("bug: time ended")


def summary(looks: Sequence[Look], kept: int) -> dict[str, Any]:
    """Return what the looks say: amounts, and how flat memory and CPU are.

    Args:
        looks: In order of time, two at least.
        kept: Series of a page that are not dropped.
    """
    first, last = looks[0], looks[-1]
    cores = _rates(looks, "cpu_s")
    memory = growth([(look.seconds, look.rss_mib) for look in looks])
    cpu = growth([(look.seconds, rate) for look, rate in zip(looks[1:], cores, strict=True)])
    served = last.served - first.served
    return {
        "seconds": round(last.seconds, 1),
        "samples_served": served,
        "samples_to_accept": served // SERIES * (kept + _REPORTS),
        "samples_accepted": last.accepted - first.accepted,
        "samples_sent": last.sent - first.sent,
        "samples_failed": last.failed,
        "samples_served_per_s": round(served / last.seconds),
        "cpu_us_per_sample": round((last.cpu_s - first.cpu_s) / max(served, 1) * 1e6, 3),
        "cores_mean": round(statistics.mean(cores), 4),
        "cores_first_quarter": round(statistics.mean(cores[: len(cores) // 4 or 1]), 4),
        "cores_last_quarter": round(statistics.mean(cores[-(len(cores) // 4 or 1) :]), 4),
        "rss_mib_first": round(first.rss_mib, 1),
        "rss_mib_last": round(last.rss_mib, 1),
        "rss_mib_peak": round(max(look.rss_mib for look in looks), 1),
        "rss_growth": round(memory, 4),
        "cpu_growth": round(cpu, 4),
        "is_flat": memory <= _FLAT_MEMORY and cpu <= _FLAT_CPU,
        "looks": [look._asdict() for look in looks],
    }


def growth(places: Sequence[tuple[float, float]]) -> float:
    """Return what values grow by from when they have settled to the end, as a share of their mean.

    Args:
        places: Seconds and value, in order of time.
    """
    last_s = places[-1][0]
    settled = [place for place in places if place[0] >= min(_SETTLED_S, last_s / 3)]
    times, values = zip(*settled, strict=True)
    if len(settled) < 2:
        return 0.0
    rise: float = statistics.linear_regression(times, values).slope * (times[-1] - times[0])
    return rise / float(statistics.mean(values))


def _rates(looks: Sequence[Look], name: str) -> list[float]:
    """Return how much a count grew by in each second between two looks."""
    return [
        (getattr(b, name) - getattr(a, name)) / max(b.seconds - a.seconds, 1e-3) for a, b in itertools.pairwise(looks)
    ]


def curves(looks: Sequence[Look]) -> str:
    """Return the picture of a run, as SVG."""
    panels = [
        Curve("resident memory, MiB", [look.rss_mib for look in looks[1:]]),
        Curve("CPU, % of a core", [100 * cores for cores in _rates(looks, "cpu_s")]),
        Curve("thousand samples scraped a second", [rate / 1000 for rate in _rates(looks, "accepted")]),
        Curve("thousand samples sent a second", [rate / 1000 for rate in _rates(looks, "sent")]),
    ]
    return picture([look.seconds / 60 for look in looks[1:]], "minutes", panels)


def is_good(found: Mapping[str, Any]) -> bool:
    """Tell whether nothing was lost and nothing grew; what is under way at the ends, a second's, is let pass."""
    under_way = TARGETS * SERIES // INTERVAL_S
    unread = found["samples_to_accept"] - found["samples_accepted"]
    unsent = found["samples_accepted"] - found["samples_sent"]
    exact = abs(unread) <= under_way and abs(unsent) <= under_way and not found["samples_failed"]
    return exact and bool(found["is_flat"])


def main() -> int:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two looks")
    parser.add_argument("--warm-up", type=float, default=120.0, help="seconds until the first look")
    parser.add_argument("--harness", type=Path, default=HARNESS, help="folder of the harness")
    parser.add_argument("--picture", type=Path, default=BUILD / "steady.svg", help="SVG of memory, CPU and samples")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-steady-") as folder:
        stand = Stand(options.harness, Path(folder))
        try:
            looks = measured(stand, options.minutes * 60, options.every, options.warm_up)
        finally:
            stand.close()
    found = summary(looks, kept_series())
    report("steady", found)
    options.picture.write_text(curves(looks))
    return 0 if is_good(found) else 1


if __name__ == "__main__":
    sys.exit(main())
