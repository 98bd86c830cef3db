"""One target invents a million series within a minute: what becomes of the others?

``python -m bench.cardinality_attack`` scrapes well-behaved targets for a while, lets one more target attack, and goes
on after it. The daemon has a ``memory_limiter`` and a ``cardinality_limit``. Counted are all scrapes and samples of the
other targets; watched is the memory; asked is whom the daemon names. Writes ``build/cardinality_attack.json``; the exit
code is 1 where a sample is missing, memory passes its limit, or the wrong one is named.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.scrape_stand import BUILD, Plan, Stand, report, standing
from bench.target_server import ATTACKER

_LOOK_S = 0.5
_OFFENDERS = "headrace_cardinality_limit_offender_series"
_METRIC, _LABEL = "bench_attack_total", "user"


def main() -> int:
    """Attack, and report."""
    found = measured(_parser().parse_args())
    report("cardinality_attack", found)
    return 0 if all(found["verdict"].values()) else 1


def run() -> dict[str, float]:
    """Attack at a size that every machine has time for.

    Raises:
        AssertionError: It did harm.
    """
    short = "--targets 20 --series 200 --interval 2 --invented 100000 --seconds 20 --calm 6"
    found = measured(_parser().parse_args(short.split()))
    if not all(found["verdict"].values()):
        raise AssertionError(f"bug: {found['verdict']}")
    return {f"{name}_rss_mib": phase["rss_mib_peak"] for name, phase in found["phases"].items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--targets", type=int, default=50, help="well-behaved ones")
    parser.add_argument("--series", type=int, default=500, help="of each of them")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds")
    parser.add_argument("--invented", type=int, default=1_000_000, help="series of the attack")
    parser.add_argument("--seconds", type=float, default=60.0, help="that the attack lasts")
    parser.add_argument("--calm", type=float, default=30.0, help="seconds before and after it")
    parser.add_argument("--limit-mib", type=int, default=1024)
    return parser


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Run before, during and after the attack, and count."""
    rounds = max(1, round(options.seconds / options.interval))
    processors = {
        "memory_limiter": {"limit_mib": options.limit_mib, "spike_limit_mib": options.limit_mib // 8},
        "cardinality_limit": {"max_series_per_metric": 5000, "report_interval": "10s"},
    }
    plan = Plan(
        options.targets, options.series, options.interval, attack=-(-options.invented // rounds), processors=processors
    )
    BUILD.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="headrace-attack-", dir=BUILD) as folder,
        standing(plan, Path(folder), [ATTACKER]) as stand,
    ):
        stand.wait_until_scraped()
        start_s = (time.time() // plan.interval_s + 2) * plan.interval_s
        looks = [*_watch(stand, "before", options.calm)]
        stand.control("/attack")
        looks += _watch(stand, "attack", rounds * plan.interval_s)
        invented = stand.control("/peace")["invented"]
        looks += _watch(stand, "after", options.calm)
        end_s = time.time() // plan.interval_s * plan.interval_s
        time.sleep(2 * plan.interval_s)
        return {**_found(stand, options, looks, start_s, end_s), "invented": invented}


def _watch(stand: Stand, phase: str, seconds: float) -> list[tuple[str, float, float]]:
    """Return phase, memory and processor time, looked at until `seconds` have passed."""
    looks = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        looks.append((phase, stand.daemon.rss_mib(), stand.daemon.cpu_s()))
        time.sleep(_LOOK_S)
    return looks


def _found(
    stand: Stand, options: argparse.Namespace, looks: list[tuple[str, float, float]], start_s: float, end_s: float
) -> dict[str, Any]:
    others = stand.hosts[:-1]
    stored = stand.stored(start_s, end_s, others)
    kept = stand.number(f"count(count by ({_LABEL}) (last_over_time({_METRIC}[10m])))", end_s)
    named = stand.own_metric(_OFFENDERS)
    line = [line for line in stand.daemon.log.read_text().splitlines() if "series beyond the limits" in line][-1:]
    peak = max(rss for _, rss, _ in looks)
    worst = max(named, key=lambda labels: named[labels], default="")
    verdict = {
        "no_scrape_missed": not stored["scrapes_missed"] and not stored["scrapes_failed"],
        "every_sample_there": stored["samples"] == stored["samples_expected"] > 0,
        "memory_within_limit": peak <= options.limit_mib,
        "offender_named": f'metric="{_METRIC}"' in worst and f'label="{_LABEL}"' in worst and _METRIC in "".join(line),
    }
    return {
        "verdict": verdict,
        "others": stored,
        "attacker_series_stored": kept,
        "memory_limit_mib": options.limit_mib,
        "phases": {phase: _of_phase(phase, looks) for phase in ("before", "attack", "after")},
        "offenders": named,
        "log": line,
        "dropped": stand.own_metric("headrace_dropped_points_total"),
    }


def _of_phase(phase: str, looks: list[tuple[str, float, float]]) -> dict[str, float]:
    own = [(rss, cpu) for name, rss, cpu in looks if name == phase]
    seconds = max(1, len(own) - 1) * _LOOK_S
    return {
        "rss_mib_peak": max(rss for rss, _ in own),
        "rss_mib_last": own[-1][0],
        "cpu_percent": 100 * (own[-1][1] - own[0][1]) / seconds,
    }


if __name__ == "__main__":
    sys.exit(main())
