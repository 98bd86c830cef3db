"""Federation: pages beside those of a real Prometheus, and what only newer ones do."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from api_lab import NOW_NS, ApiLab
from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, ResetHint
from headrace.pipeline.wire.name_escaping import SCHEMES, escape
from headrace.store.api import exposition
from headrace.store.api.federate import negotiate
from headrace.store.labels import LabelTable, QuerySymbols
from headrace.store.symbols import Symbols
from native_messages import request
from native_rows import Row, bits, columns
from running import free_port, wait_until
from twins import Twins, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STALE = float(np.uint64(0x7FF0000000000002).view(np.float64))
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
COUNTER = Row(
    schema=0, count=5, zero_count=1, sum_bits=bits(2.5), positive=((0, 2), (1, 1)), negative=((0, 1),),
    buckets=(1, 1, 1, 1), threshold_bits=bits(0.001),
)  # fmt: skip
CUSTOM = Row(
    schema=CUSTOM_BUCKETS, count=7, sum_bits=bits(2.5), positive=((0, 1), (1, 2)), buckets=(1, 3, 3),
    bounds_bits=(bits(0.5), bits(1.0), bits(1e6)),
)  # fmt: skip


async def test_a_page(api: ApiLab) -> None:
    """Families in order of names, samples with time, and an empty instance where there is none."""
    reply = await api.get("/federate", ("match[]", "up"), ("match[]", "down"), ("match[]", "up"))

    now = NOW_NS // 1_000_000
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    assert reply.raw.decode() == (
        f'# TYPE down untyped\ndown{{job="b",instance=""}} 1.5 {now}\n# TYPE up untyped\n'
        f'up{{instance="x:1",job="a"}} 1.5 {now}\nup{{instance="y:1",job="b"}} 1.5 {now}\n'
    )
    assert api.index.windows[-1] == (now - 300_000, now)


async def test_each_workspace_has_a_page(api: ApiLab) -> None:
    """Below its own path; one that does not exist is 404 in plain text."""
    found = await api.get("/workspaces/default/federate", ("match[]", "down"))
    none = await api.get("/workspaces/other/federate", ("match[]", "down"))

    assert b"down{" in found.raw
    assert (none.status, none.raw) == (404, b'workspace "other" does not exist\n')


def test_histograms_with_custom_buckets_become_classic() -> None:
    """In text as three kinds of lines, cumulated; exponential ones are left out."""
    table = LabelTable.of([{"__name__": "h"}, {"__name__": "h", "a": "b"}], QuerySymbols(Symbols()))
    page = exposition.Page(
        table, [("instance", ["", ""])], np.zeros(2), np.array([5, 6]), columns([0, 0], [5, 6], [COUNTER, CUSTOM]),
        np.array([0, 1]),
    )  # fmt: skip

    assert exposition.text(page, "underscores").tobytes().decode() == (
        "# TYPE h histogram\n"
        'h_bucket{a="b",instance="",le="0.5"} 1 6\n'
        'h_bucket{a="b",instance="",le="1"} 1 6\n'
        'h_bucket{a="b",instance="",le="1e+06"} 4 6\n'
        'h_bucket{a="b",instance="",le="+Inf"} 7 6\n'
        'h_sum{a="b",instance=""} 2.5 6\n'
        'h_count{a="b",instance=""} 7 6\n'
    )


@pytest.mark.parametrize(
    ("accept", "found"),
    [
        ("", (False, "underscores")),
        ("text/plain;version=0.0.4;escaping=allow-utf-8", (False, "allow-utf-8")),
        ("text/plain;escaping=wrong", (False, "underscores")),
        (f"text/plain;q=0.2, {PROTOBUF};escaping=dots;q=0.7", (True, "dots")),
        (f"text/plain;q=0.8, {PROTOBUF};q=0.7", (False, "underscores")),
        (PROTOBUF.replace("delimited", "text"), (False, "underscores")),
        ("application/openmetrics-text;version=1.0.0;escaping=values,text/plain;q=x", (False, "values")),
    ],
)
def test_negotiation(accept: str, found: tuple[bool, str]) -> None:
    """The heaviest type that there is wins; schemes of all before it count."""
    assert negotiate(accept) == found


def test_the_numbers_of_lines() -> None:
    """As Go prints them: shortest digits, an exponent from 1e6 on, zero without its sign."""
    values = [0.0, -0.0, 1.0, -1.0, 0.1, 123456.0, 1234567.0, 1e-5, math.inf, -math.inf, math.nan, 5e-324]
    table = LabelTable.of([{"__name__": "m"}] * len(values), QuerySymbols(Symbols()))
    rows = np.full(len(values), -1)
    times = np.array([-1, *range(len(values) - 1)])
    page = exposition.Page(table, [], np.array(values), times, columns([], [], []), rows)

    lines = exposition.text(page, "underscores").tobytes().decode().splitlines()[1:]

    assert [line.split(" ")[1] for line in lines] == [
        "0", "0", "1", "-1", "0.1", "123456", "1.234567e+06", "1e-05", "+Inf", "-Inf", "NaN", "5e-324",
    ]  # fmt: skip
    assert lines[0] == "m 0 -1"


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_classic_names_stay(scheme: str) -> None:
    """Escaping is for names that need it."""
    assert escape("a_b:c1", scheme) == "a_b:c1"


# -- a real Prometheus -----------------------------------------------------------------------------------


def make_data(now: int) -> list[tuple[dict[str, str], list[tuple[int, float]], list[tuple[int, Row]]]]:
    """Make series that are new, stale, old, oddly named, and of all kinds."""
    at = now - 5_000
    return [
        ({"__name__": "up", "job": "a", "instance": "x"}, [(now - 20_000, 0.0), (at, 1.0)], []),
        ({"__name__": "up", "job": "b"}, [(at, 1e21)], []),
        ({"__name__": "gone", "job": "b"}, [(now - 9_000, 1.0), (at, STALE)], []),
        ({"__name__": "old", "job": "b"}, [(now - 400_000, 1.0)], []),
        ({"__name__": "esc", "job": 'b"\\\nx', "cluster": "own"}, [(at, math.nan)], []),
        ({"__name__": "http.requests", "a.b": "é"}, [(at, -0.0)], []),
        ({"__name__": "m:x_total", "z": "é"}, [(at, math.inf)], []),
        ({"__name__": "é", "1": "2"}, [(at, 1234567.0)], []),
        ({"__name__": "h", "i": "1"}, [], [(at, COUNTER)]),
        ({"__name__": "h", "i": "2"}, [], [(at, replace(COUNTER, hint=int(ResetHint.GAUGE)))]),
        ({"__name__": "h", "i": "3"}, [(at, 3.5)], []),
    ]


@pytest.fixture(scope="module")
def twins(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    data = make_data(int(time.time() * 1000))
    with Twins(tmp_path_factory.mktemp("federate"), peers, {"cluster": "c1", "zone": "é"}) as twins:
        for moment in sorted({time_ms for _, numbers, rows in data for time_ms, _ in (*numbers, *rows)}):
            some = [(labels, [r for r in numbers if r[0] == moment], [r for r in rows if r[0] == moment])
                    for labels, numbers, rows in data]  # fmt: skip
            twins.write(request([one for one in some if one[1] or one[2]]))
        yield twins


@pytest.mark.peer
@pytest.mark.parametrize("accept", ["", "escaping=allow-utf-8", "escaping=dots", "escaping=values", "q=0.5"])
@pytest.mark.parametrize("kind", ["text/plain", PROTOBUF])
@pytest.mark.parametrize(
    "selectors",
    [['{__name__=~".+"}'], ["up", '{job="b"}', "up"], [], ["{}"], ["nosuch"], ['{__name__!="up"}'], ["up[5m]"],
     ['{a="b"'], ["up and up"], ["up offset 5m"], ["up["], ["h"]],
)  # fmt: skip
def test_pages_are_prometheus_own(twins: Twins, selectors: list[str], kind: str, accept: str) -> None:
    """Status, type and body to the byte."""
    header = {"Accept": f"{kind};{accept}"}
    form = [("match[]", one) for one in selectors]

    ours, theirs = (ask(f"{url}/federate", form, headers=header) for url in (twins.ours, twins.theirs))

    assert ours.status == theirs.status
    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"]
    assert ours.body == theirs.body


@pytest.mark.peer
def test_a_prometheus_scrapes_the_page(twins: Twins) -> None:
    """One that federates from the daemon has the newest samples, native histograms among them."""
    url = f"http://127.0.0.1:{free_port()}"
    job = {
        "job_name": "federate", "scrape_interval": "1s", "scrape_timeout": "1s", "honor_labels": True,
        "metrics_path": "/federate", "params": {"match[]": ['{__name__=~".+"}']},
        "static_configs": [{"targets": [twins.ours.removeprefix("http://")]}],
    }  # fmt: skip
    twins.prometheus(url, f"scrape_configs: {json.dumps([job])}\n", "federating")

    def newest(base: str, query: str) -> list[tuple[str, object]]:
        found = ask(f"{base}/api/v1/query", [("query", query)]).json["data"]["result"]
        return sorted((one["metric"].get("i", ""), (one.get("value") or one["histogram"])[1]) for one in found)

    wait_until(lambda: len(newest(url, "h")) == 3, "histograms are scraped")
    for query in ("h", "timestamp(h)", 'up{job=~"a|b"}', "esc"):
        assert newest(url, query) == newest(twins.ours, query), query
