"""``headrace query`` prints the same text about Headrace as about a real Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from headrace.cli.main import main

if TYPE_CHECKING:
    from two_servers import TwoServers

pytestmark = pytest.mark.peer

EXPRESSIONS = (
    "requests_total",
    'rate(requests_total{code!="404"}[5m])',
    "sum by (job) (rate(requests_total[5m]))",
    "size_bytes",
    "odd",
    '{"a.name with/odd letters"}',
    "nosuch",
    "1 / 0",
)
INSTANT_ONLY = ("requests_total[2m]", "size_bytes[1m]", '"text"')
WRONG = ("sum(", "requests_total[5m] + 1", "nosuch(1)", 'temperature{job=~"("}')


def both(servers: TwoServers, *arguments: object) -> tuple[Result, Result]:
    """Run one command against Headrace and Prometheus."""
    command, *others = map(str, arguments)
    ours, theirs = (CliRunner().invoke(main, ["query", command, base, *others]) for base in servers.both)
    return ours, theirs


def check(servers: TwoServers, *arguments: object, exit_code: int = 0) -> Result:
    ours, theirs = both(servers, *arguments)
    assert (ours.exit_code, ours.stdout, ours.stderr) == (theirs.exit_code, theirs.stdout, theirs.stderr)
    assert ours.exit_code == exit_code, ours.output
    return ours


@pytest.mark.parametrize("query", EXPRESSIONS + INSTANT_ONLY)
def test_instant(query: str, servers: TwoServers) -> None:
    """Vectors, scalars, strings and samples, native histograms among them."""
    assert check(servers, "instant", query, "--time", servers.end_s).stdout


@pytest.mark.parametrize("query", EXPRESSIONS)
@pytest.mark.parametrize("options", [(), ("--plot",)], ids=["table", "plot"])
def test_range(query: str, options: tuple[str, ...], servers: TwoServers) -> None:
    """Tables with sparklines, and plots."""
    window = ("--start", servers.start_s, "--end", servers.end_s, "--step", "1m", *options)
    assert "step 60s" in check(servers, "range", query, *window).stdout or query == "nosuch"


@pytest.mark.parametrize("query", WRONG)
def test_errors(query: str, servers: TwoServers) -> None:
    """A wrong expression is shown with its fault under it."""
    result = check(servers, "instant", query, exit_code=1)
    assert result.stderr.startswith("Error: bad_data: invalid parameter")
    assert result.stderr.splitlines()[-1].endswith("^")


def test_lists(servers: TwoServers) -> None:
    """Series, label names, label values and metadata."""
    window = ("--start", servers.start_s, "--end", servers.end_s)
    assert (
        'requests_total{code="200", instance="a:1", job="api"}'
        in check(servers, "series", "requests_total", '{job="db"}', *window).stdout.splitlines()
    )
    assert check(servers, "labels", "--match", "odd", *window).stdout == "__name__\nkind\n"
    assert check(servers, "labels", "code", *window).stdout == "200\n404\n500\n"
    assert check(servers, "labels", "a label", *window).stdout == "x\n"
    assert check(servers, "metadata", "page_temperature_celsius").stdout.splitlines()[1].split() == [
        "page_temperature_celsius", "gauge", "celsius", "Of", "the", "room.",
    ]  # fmt: skip
    assert check(servers, "labels", "code", *window, "--json").stdout == '[\n  "200",\n  "404",\n  "500"\n]\n'
