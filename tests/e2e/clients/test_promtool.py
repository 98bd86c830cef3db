"""``promtool query`` prints the same text about Headrace as about Prometheus, in each of its formats."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from two_servers import TwoServers

pytestmark = pytest.mark.peer

EXPRESSIONS = (
    "requests_total",
    'rate(requests_total{code!="404"}[5m])',
    "sum by (job) (rate(requests_total[5m]))",
    'histogram_quantile(0.9, sum by (le, job) (rate(latency_seconds_bucket{job="api"}[10m])))',
    "size_bytes",
    "odd",
    '{"a.name with/odd letters"}',
    "topk(3, temperature)",
    "sort_desc(temperature)",
    'temperature > 0 and on (instance) temperature{job="db"}',
    'label_replace(temperature, "new", "$1-x", "instance", "(.*):.*")',
    'absent(nosuch{a="b"})',
    "nosuch",
    "1 / 0",
    "vector(-0.000001)",
)
OF_HISTOGRAMS = (
    "histogram_quantile(0.9, rate(size_bytes[5m]))",
    "histogram_count(sum(size_bytes)) + histogram_fraction(0, 2, sum (increase(size_bytes[10m])))",
    "sum by (job) (rate(size_bytes[5m]))",
    "avg(size_bytes) * 2",
    "sum_over_time(size_bytes[2m]) / 3",
)
INSTANT_ONLY = ("requests_total[2m]", "size_bytes[1m]", "sum_over_time(odd[1m:10s])")
WRONG = ("sum(", "requests_total[5m] + 1", "nosuch(1)", 'sum by (job) (temperature{job=~"("})')
MATCHES = (
    ("requests_total",),
    ('{job="api"}', "temperature"),
    ('{"a.name with/odd letters"}',),
    ("odd",),
    ("nosuch",),
)
LABELS = ("__name__", "job", "code", "kind", "a label", "nosuch")
FORMATS = ("promql", "json")


class Promtool:
    """Runs one command against both servers."""

    def __init__(self, program: Path, servers: TwoServers) -> None:
        self._program = program
        self._servers = servers

    def _run(self, base: str, arguments: list[str]) -> tuple[int, str, str]:
        command = [str(self._program), "query", *(part.replace("SERVER", base) for part in arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def compare(self, arguments: list[str], read: Callable[[str], object] = str) -> tuple[int, str, str]:
        """Return exit code and output of a command, in which SERVER is the server, once both gave the same.

        Args:
            arguments: Of the command.
            read: Makes of the standard output what has to be equal.
        """
        ours, theirs = (self._run(base, arguments) for base in self._servers.both)
        assert (ours[0], read(ours[1]), ours[2]) == (theirs[0], read(theirs[1]), theirs[2])
        return ours


@pytest.fixture
def promtool(peers: Path, servers: TwoServers) -> Promtool:
    return Promtool(peers / "promtool", servers)


def test_instant(promtool: Promtool, servers: TwoServers) -> None:
    """Vectors, scalars, strings, ranges and native histograms."""
    printed = 0
    for expression in (*EXPRESSIONS, *INSTANT_ONLY):
        for output in FORMATS:
            code, text, _ = promtool.compare(
                ["instant", f"--format={output}", f"--time={servers.end_s}.5", "SERVER", expression]
            )
            assert code == 0
            printed += bool(text.strip())
    assert printed >= 2 * len(EXPRESSIONS)


def rounded(text: str) -> str:
    """Return a text with its numbers rounded to 12 digits: newer versions carry what sums of histograms lose."""
    return re.sub(r"\d+\.\d+(e[-+]\d+)?", lambda number: f"{float(number[0]):.12g}", text)


@pytest.mark.parametrize("expression", OF_HISTOGRAMS)
def test_native_histograms(promtool: Promtool, servers: TwoServers, expression: str) -> None:
    """Numbers made of native histograms, and histograms made of others."""
    window = [f"--start={servers.start_s + 1200}", f"--end={servers.start_s + 2400}", "--step=97s"]
    for options in (["instant", f"--time={servers.end_s}.5"], ["range", *window]):
        code, text, _ = promtool.compare([*options, "SERVER", expression], rounded)
        assert code == 0
        assert text.strip()


def test_instant_string(promtool: Promtool) -> None:
    """A type that promtool gives up on, once it has read it from the answer."""
    code, text, _ = promtool.compare(["instant", "--format=json", "--time=1", "SERVER", '"a text"'])
    assert (code, text) == (1, "")


def test_range(promtool: Promtool, servers: TwoServers) -> None:
    """Steps that fall between samples."""
    window = [f"--start={servers.start_s + 60}", f"--end={servers.end_s}", "--step=97s"]
    for expression in EXPRESSIONS:
        for output in FORMATS:
            code, _, _ = promtool.compare(["range", f"--format={output}", *window, "SERVER", expression])
            assert code == 0


def test_range_without_times(promtool: Promtool) -> None:
    """The times that promtool chooses itself, which are the last minutes; the values are the same whenever it does."""
    code, text, _ = promtool.compare(["range", "SERVER", "vector(1)"], lambda text: re.sub(r"@\[[0-9.]+\]", "", text))
    assert code == 0
    assert text.startswith("{} =>\n1 @[")
    assert text.count("\n") > 250


@pytest.mark.parametrize("expression", WRONG)
def test_errors(promtool: Promtool, servers: TwoServers, expression: str) -> None:
    """The message and the exit code of a wrong query."""
    code, _, text = promtool.compare(["instant", f"--time={servers.end_s}", "SERVER", expression])
    assert code == 1
    assert "parse error" in text or "invalid" in text


@pytest.mark.parametrize("matches", MATCHES)
def test_series(promtool: Promtool, servers: TwoServers, matches: tuple[str, ...]) -> None:
    """Label sets of one and of two selectors, for the whole time and for a part of it."""
    window = [f"--start={servers.start_s}", f"--end={servers.start_s + 600}"]
    chosen = [f"--match={match}" for match in matches]
    for output in FORMATS:
        for options in ([], window):
            code, _, _ = promtool.compare(["series", f"--format={output}", *options, *chosen, "SERVER"])
            assert code == 0


@pytest.mark.parametrize("label", LABELS)
def test_labels(promtool: Promtool, servers: TwoServers, label: str) -> None:
    """Values of a label, of all series and of those of a selector, without times and with them."""
    # Prometheus' head knows labels, but not at which times: the window has to reach the scrapes.
    window = [f"--start={servers.start_s}", f"--end={servers.end_s + 3600}"]
    for output in FORMATS:
        for options in ([], window, ["--match=requests_total", "--match=odd"]):
            code, _, _ = promtool.compare(["labels", f"--format={output}", *options, "SERVER", label])
            assert code == 0


def test_analyze(promtool: Promtool, servers: TwoServers) -> None:
    """How the buckets of histograms, classic and native, are used; the order of the lines is one of chance."""
    for metric in ("latency_seconds_count", "latency_seconds_bucket", "size_bytes"):
        options = ["--server=SERVER", "--type=histogram", "--duration=30m", f"--time={servers.end_s}"]
        code, _, _ = promtool.compare(
            ["analyze", *options, f"--match={metric}"], lambda text: sorted(text.splitlines())
        )
        assert code == 0
