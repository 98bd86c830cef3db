"""1,000 targets of 1,000 series each, every 15 seconds: is a scrape missed, and what does it take?

``python -m bench.many_targets`` runs ten minutes and writes ``build/many_targets.json``. Scrapes are counted twice: by
the targets as they hand out pages, and in the store by ``up``; samples one by one, by queries over all series. With
``--exporter nop`` nothing is stored, and only the targets count.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.curves import Curve, picture
from bench.scrape_stand import BUILD, Plan, Stand, missed, report, standing

_LOOK_S = 5.0


def main() -> int:
    """Measure what the command line says; 1 where a scrape was missed or a sample is not there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--series", type=int, default=1000, help="of each target")
    parser.add_argument("--interval", type=float, default=15.0, help="seconds")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--exporter", choices=("store", "nop"), default="store")
    parser.add_argument("--picture", type=Path, help="an SVG file of memory and processor time")
    options = parser.parse_args()
    plan = Plan(options.targets, options.series, options.interval, options.exporter)
    found = measured(plan, options.minutes * 60)
    report("many_targets", found)
    if options.picture:
        options.picture.write_text(curves(found))
    good = not found["served"]["scrapes_missed"] and not found["stored"].get("scrapes_missed")
    return 0 if good and found["stored"].get("samples") == found["stored"].get("samples_expected") else 1


def run() -> dict[str, float]:
    """Measure at a size that every machine has time for.

    Raises:
        AssertionError: A scrape was missed, or a sample is not there.
    """
    found = measured(Plan(50, 500, 2.0), 20)
    stored = found["stored"]
    if stored["scrapes_missed"] or stored["samples"] != stored["samples_expected"]:
        raise AssertionError(f"bug: {stored}")
    return {name: found[name] for name in ("cpu_us_per_sample", "cpu_percent", "rss_mib_peak")}


def measured(plan: Plan, seconds: float) -> dict[str, Any]:
    """Scrape for some time, rounded up to whole intervals, and count."""
    BUILD.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="headrace-targets-", dir=BUILD) as folder,
        standing(plan, Path(folder)) as stand,
    ):
        stand.wait_until_scraped()
        intervals = max(1, round(seconds / plan.interval_s))
        # One more interval: what each series costs when it is first seen is not part of it.
        start_s = (time.time() // plan.interval_s + 2) * plan.interval_s
        end_s = start_s + intervals * plan.interval_s
        used = watch(stand, start_s, end_s)
        time.sleep(plan.interval_s + 2)
        served = stand.served()["times"]
        inside = sum(sum(start_s <= at < end_s for at in times) for times in served.values())
        expected = intervals * plan.targets
        return {
            "targets": plan.targets,
            "series": plan.series,
            "interval_s": plan.interval_s,
            "seconds": end_s - start_s,
            "exporter": plan.exporter,
            "scrapes_expected": expected,
            "served": {
                "scrapes": inside,
                "scrapes_missed": missed(served, stand.hosts, plan.interval_s, start_s, end_s),
            },
            "stored": stand.stored(start_s, end_s, stand.hosts) if plan.exporter == "store" else {},
            "failures": stand.own_metric("headrace_scrapes_failed_total"),
            "samples_per_s": expected * (plan.series + 5) / (end_s - start_s),
            **used,
            "cpu_us_per_sample": used["cpu_s"] * 1e6 / (expected * (plan.series + 5)),
        }


def watch(stand: Stand, start_s: float, end_s: float) -> dict[str, Any]:
    """Look at the processes until `end_s`; return what they used from `start_s` on."""
    time.sleep(max(0.0, start_s - time.time()))
    cpu, exporter = stand.daemon.cpu_s(), stand.exporter.cpu_s()
    looks = [(0.0, stand.daemon.rss_mib(), 0.0)]
    while (now := time.time()) < end_s:
        time.sleep(min(_LOOK_S, end_s - now))
        looks.append((time.time() - start_s, stand.daemon.rss_mib(), stand.daemon.cpu_s() - cpu))
    took = looks[-1][0]
    return {
        "cpu_s": looks[-1][2],
        "cpu_percent": 100 * looks[-1][2] / took,
        "exporter_cpu_percent": 100 * (stand.exporter.cpu_s() - exporter) / took,
        "rss_mib_first": looks[0][1],
        "rss_mib_last": looks[-1][1],
        "rss_mib_peak": max(rss for _, rss, _ in looks),
        "rss_mib": [[round(at, 1), round(rss, 1), round(cpu_s, 2)] for at, rss, cpu_s in looks],
    }


def curves(found: dict[str, Any]) -> str:
    """Return the picture of a run, as SVG."""
    looks = found["rss_mib"]
    seconds = [at for at, _, _ in looks]
    steps = list(itertools.pairwise(looks))
    percent = [100 * (b[2] - a[2]) / max(b[0] - a[0], 1e-3) for a, b in steps]
    return picture(
        seconds,
        "seconds",
        [Curve("resident memory, MiB", [rss for _, rss, _ in looks]), Curve("processor, %", [*percent[:1], *percent])],
    )


if __name__ == "__main__":
    sys.exit(main())
