"""A daemon that scrapes the targets of `bench.target_server`: started, watched, asked, and ended."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bench.compare_stores import free_port
from bench.target_server import CONTROL, address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BUILD = Path(__file__).parents[1] / "build"
_TICKS_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CHUNK = 20
"""Targets whose samples are counted by one query."""

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> Any:
    """Return the JSON at `url`."""
    with _opener.open(url, timeout=300) as answer:
        return json.loads(answer.read())


class Watched:
    """A process and what it uses."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        with log.open("wb") as output:
            self.process = subprocess.Popen(list(command), stdout=output, stderr=subprocess.STDOUT)
        self.log = log

    def cpu_s(self) -> float:
        """Return the processor time it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_S

    def rss_mib(self) -> float:
        """Return what it has in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * _PAGE / (1 << 20)

    def end(self) -> None:
        """Ask it to end, and wait."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Plan:
    """What is scraped.

    Attributes:
        targets: How many.
        series: Of each.
        interval_s: How often.
        exporter: ``store`` or ``nop``.
        attack: New series of each page of one more target, at address `ATTACKER`.
        processors: Settings of the pipeline's processors.
    """

    targets: int
    series: int
    interval_s: float
    exporter: str = "store"
    attack: int = 0
    processors: Mapping[str, Any] | None = None


class Stand:
    """Both processes, running.

    Args:
        plan: What is scraped.
        folder: For configuration, data and logs.
        more: Addresses of further targets.
    """

    def __init__(self, plan: Plan, folder: Path, more: Sequence[str] = ()) -> None:
        self.plan = plan
        self.hosts = [*(address(i) for i in range(plan.targets)), *more]
        self.port, self.api, self.metrics = free_port(), free_port(), free_port()
        numbers = {"port": self.port, "targets": plan.targets, "series": plan.series, "interval": plan.interval_s,
                   "attack": plan.attack}  # fmt: skip
        arguments = [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
        self.exporter = Watched([sys.executable, "-m", "bench.target_server", *arguments], folder / "exporter.log")
        (folder / "targets.json").write_text(json.dumps([{"targets": [f"{host}:{self.port}" for host in self.hosts]}]))
        (folder / "headrace.yaml").write_text(json.dumps(self._config(folder)))
        command = [str(Path(sys.executable).with_name("headrace")), "run", "--config", str(folder / "headrace.yaml")]
        self.daemon = Watched(command, folder / "headrace.log")

    def _config(self, folder: Path) -> dict[str, Any]:
        job = {
            "job_name": "bench",
            "scrape_interval": f"{self.plan.interval_s * 1000:.0f}ms",
            "scrape_timeout": f"{min(10, self.plan.interval_s) * 1000:.0f}ms",
            "file_sd_configs": [{"files": [str(folder / "targets.json")]}],
        }
        store = {"endpoint": f"127.0.0.1:{self.api}", "directory": str(folder / "data")}
        processors = self.plan.processors or {}
        reader = {"pull": {"exporter": {"prometheus": {"port": self.metrics}}}}
        pipeline = {"receivers": ["prometheus"], "processors": list(processors), "exporters": [self.plan.exporter]}
        return {
            "receivers": {"prometheus": {"config": {"scrape_configs": [job]}}},
            "processors": dict(processors),
            "exporters": {self.plan.exporter: store if self.plan.exporter == "store" else None},
            "service": {"telemetry": {"metrics": {"readers": [reader]}}, "pipelines": {"metrics": pipeline}},
        }

    # -- what happened -------------------------------------------------------------------------------------

    def wait_until_scraped(self, timeout_s: float = 300.0) -> None:
        """Return once each target was scraped.

        Raises:
            AssertionError: Not within `timeout_s`; the daemon's log is quoted.
        """
        url = f"http://127.0.0.1:{self.metrics}/metrics" if self.plan.exporter == "nop" else f"{self.url}/-/ready"
        deadline = time.monotonic() + timeout_s
        while not _answers(url) or len(self.served()["times"]) < len(self.hosts):
            if time.monotonic() > deadline or self.daemon.process.poll() is not None:
                raise AssertionError(f"bug: not all targets were scraped: {self.daemon.log.read_text()[-2000:]}")
            time.sleep(0.5)

    @property
    def url(self) -> str:
        """Where the store answers."""
        return f"http://127.0.0.1:{self.api}"

    def control(self, path: str) -> Any:
        """Tell the targets something; return what they have served."""
        return get(f"http://{CONTROL}:{self.port}{path}")

    def served(self) -> Any:
        """Return what the targets have served."""
        return self.control("/stats")

    def query(self, query: str, at_s: float) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        form = urlencode({"query": query, "time": f"{at_s:.3f}", "timeout": "5m"})
        found: list[dict[str, Any]] = get(f"{self.url}/api/v1/query?{form}")["data"]["result"]
        return found

    def number(self, query: str, at_s: float) -> int:
        """Return the one number of an instant query; 0 without a result."""
        found = self.query(query, at_s)
        return int(float(found[0]["value"][1])) if found else 0

    def own_metric(self, name: str) -> dict[str, float]:
        """Return the values of a metric of the daemon by their labels."""
        with _opener.open(f"http://127.0.0.1:{self.metrics}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        rows = (line.rpartition(" ") for line in lines if line.startswith((f"{name}{{", f"{name} ")))
        return {labels.removeprefix(name): float(value) for labels, _, value in rows}

    def stored(self, start_s: float, end_s: float, hosts: Sequence[str]) -> dict[str, Any]:
        """Count what the store has of `hosts` from `start_s` until before `end_s`.

        Returns:
            Scrapes that were missed, by the times of ``up``; scrapes that failed; samples of pages by their own count
            and by what the pages hold times the scrapes that did not fail.
        """
        window = f"{(end_s - start_s) * 1000:.0f}ms"
        interval = self.plan.interval_s
        wide = f"{(end_s - start_s + 3 * interval) * 1000:.0f}ms"
        times = {
            one["metric"]["instance"].rpartition(":")[0]: [float(at) for at, _ in one["values"]]
            for one in self.query(f"up[{wide}]", end_s + interval)
        }
        at_s = end_s - 0.001
        samples = up = scrapes = 0
        for i in range(0, len(hosts), _CHUNK):
            chosen = "|".join(f"{host}:{self.port}".replace(".", r"\\.") for host in hosts[i : i + _CHUNK])
            named = f'{{instance=~"{chosen}"}}[{window}]'
            samples += self.number(f'sum(count_over_time({{__name__=~"bench_metric.*",{named[1:]}))', at_s)
            up += self.number(f"sum(sum_over_time(up{named}))", at_s)
            scrapes += self.number(f"sum(count_over_time(up{named}))", at_s)
        return {
            "scrapes": scrapes,
            "scrapes_missed": missed(times, hosts, interval, start_s, end_s),
            "scrapes_failed": scrapes - up,
            "samples": samples,
            "samples_expected": up * self.plan.series,
        }

    def close(self) -> None:
        """End both."""
        self.daemon.end()
        self.exporter.end()


@contextlib.contextmanager
def standing(plan: Plan, folder: Path, more: Sequence[str] = ()) -> Iterator[Stand]:
    """Run a stand."""
    stand = Stand(plan, folder, more)
    try:
        yield stand
    finally:
        stand.close()


def missed(
    times: Mapping[str, Sequence[float]], hosts: Sequence[str], interval_s: float, start_s: float, end_s: float
) -> int:
    """Count the scrapes that are missing between those there are, which are an interval apart.

    >>> missed({"a": [0.0, 15.1, 45.0, 60.0]}, ["a", "b"], 15.0, 0.0, 60.0)
    5
    """
    total = 0
    for host in hosts:
        seen = sorted(times.get(host, ()))
        inside = [at for at in seen if start_s <= at < end_s]
        if not inside:
            total += round((end_s - start_s) / interval_s)
            continue
        before = max((at for at in seen if at < start_s), default=inside[0])
        after = min((at for at in seen if at >= end_s), default=inside[-1])
        chain = [before, *inside, after]
        total += sum(max(0, round((b - a) / interval_s) - 1) for a, b in itertools.pairwise(chain))
    return total


def _answers(url: str) -> bool:
    try:
        with _opener.open(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def report(name: str, found: Mapping[str, Any]) -> None:
    """Print what was found, and write it to ``build/``."""
    BUILD.mkdir(exist_ok=True)
    (BUILD / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({key: value for key, value in found.items() if key != "rss_mib"}, indent=1))
