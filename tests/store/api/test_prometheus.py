"""The HTTP API over a made-up workspace: parameters, envelopes, errors, limits, compression, cancelling."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from api_lab import NOW_NS, ApiLab
from headrace.pipeline.errors import StoreFailed
from headrace.pipeline.targets import ActiveTarget, DroppedTarget, Targets, TargetsRegistry
from headrace.store.api import params
from headrace.store.api.backend import Answer, QueryOptions
from headrace.store.api.errors import STATUS, ApiError
from headrace.store.api.packing import chosen
from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.store.labels import LabelTable

QUERY = ("query", "up")
RANGE = (QUERY, ("start", "10"), ("end", "20"), ("step", "5"))


def error(message: str, kind: str = "bad_data") -> dict[str, str]:
    return {"status": "error", "errorType": kind, "error": message}


async def test_instant_query(api: ApiLab) -> None:
    """GET and POST ask the same; the time is rounded down to milliseconds and is now by default."""
    first = await api.get("/api/v1/query", QUERY, ("time", "2.5"))
    second = await api.ask("/api/v1/query?time=2.5", "POST", form=[QUERY])
    await api.get("/api/v1/query", QUERY)

    assert first.status == second.status == 200
    assert first.headers["Content-Type"] == "application/json"
    assert first.raw == b'{"status":"success","data":{"resultType":"string","result":[0, "up"]}}'
    assert first.raw == second.raw
    assert [asked[:2] for asked in api.queries.asked] == [("up", 2500), ("up", 2500), ("up", NOW_NS // params.MS)]


async def test_range_query(api: ApiLab) -> None:
    """Start, end, step, limit, lookback and timeout arrive in milliseconds."""
    reply = await api.get("/api/v1/query_range", *RANGE, ("limit", "3"), ("lookback_delta", "1m"), ("timeout", "2.5"))

    assert reply.status == 200
    query, start_ms, end_ms, step_ms, options = api.queries.asked[0]
    assert (query, start_ms, end_ms, step_ms) == ("up", 10_000, 20_000, 5_000)
    assert (options.limit, options.lookback_ms, options.ticket.timeout_s) == (3, 60_000, 2.5)


async def test_explanations(api: ApiLab) -> None:
    """Those who ask for one get it; nobody gets an evaluation instead."""
    for how in ("plan", "analyze"):
        await api.get("/api/v1/query", ("query", "up"), ("explain", how))
    assert [asked[2].explain for asked in api.queries.asked] == ["plan", "analyze"]
    reply = await api.get("/api/v1/query", ("query", "up"), ("explain", "yes"))
    assert (reply.status, reply.json["errorType"]) == (400, "bad_data")
    assert reply.json["error"] == 'invalid parameter "explain": must be plan or analyze, got "yes"'
    assert len(api.queries.asked) == 2


async def test_a_posted_form_wins_over_the_query_string(api: ApiLab) -> None:
    """As in Go, the body's value comes first, and a pair that does not decode is as if absent."""
    await api.ask("/api/v1/query?query=url&time=3", "POST", form=[("query", "body")])
    await api.ask(
        "/api/v1/query?query=%zz&query=b",
        "POST",
        headers={"Content-Type": "application/json"},
    )

    assert [asked[0] for asked in api.queries.asked] == ["body", "b"]


async def test_bytes_that_are_no_text(api: ApiLab) -> None:
    """Bytes that are not UTF-8 reach the parser as replacement characters, as in Go."""
    await api.get("/api/v1/query?query=%ffup")

    assert api.queries.asked[0][0] == "\ufffdup"


async def test_annotations_and_stats(api: ApiLab) -> None:
    """Warnings and infos are listed up to ten, the rest counted; stats are there when asked for."""
    api.queries.answer = lambda _query, _options: Answer(
        "vector", b"[]", [f"w{i}" for i in range(12)], ["i"], {"samples": {"totalQueryableSamples": 3}}
    )

    plain = (await api.get("/api/v1/query", QUERY)).json
    asked = (await api.get("/api/v1/query", QUERY, ("stats", "all"))).json

    assert plain["warnings"] == [f"w{i}" for i in range(10)] + ["2 more warning annotations omitted"]
    assert plain["infos"] == ["i"]
    assert plain["data"] == {"resultType": "vector", "result": []}
    assert asked["data"]["stats"] == {"samples": {"totalQueryableSamples": 3}}


@pytest.mark.parametrize("kind", sorted(STATUS))
async def test_error_types_have_their_status(api: ApiLab, kind: str) -> None:
    """Each error type is answered with Prometheus' status."""

    def fail(_query: str, _options: QueryOptions) -> Answer:
        raise ApiError(kind, "why")

    api.queries.answer = fail
    reply = await api.get("/api/v1/query", QUERY)

    assert reply.status == STATUS[kind]
    assert reply.json == error("why", kind)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("query_range?query=1", 'invalid parameter "start": cannot parse "" to a valid timestamp'),
        ("query_range?query=1&start=1&end=x", 'invalid parameter "end": cannot parse "x" to a valid timestamp'),
        ("query_range?start=2&end=1&step=0", 'invalid parameter "end": end timestamp must not be before start time'),
        (
            "query_range?start=1&end=2&step=0",
            (
                'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
                "Try a positive integer"
            ),
        ),
        (
            "query_range?start=0&end=11001&step=1",
            (
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution "
                "(?step=XX)"
            ),
        ),
        (
            "query?query=1&time=abc",
            'invalid parameter "time": invalid time value for \'time\': cannot parse "abc" to a valid timestamp',
        ),
        ("query?query=1&timeout=abc", 'invalid parameter "timeout": cannot parse "abc" to a valid duration'),
        (
            "query?query=1&lookback_delta=x",
            'error parsing lookback delta duration: cannot parse "x" to a valid duration',
        ),
        ("query?time=abc&limit=abc", 'invalid parameter "limit": strconv.Atoi: parsing "abc": invalid syntax'),
        ("series", "no match[] parameter provided"),
        ("series?match[]=up&x=%zz", 'error parsing form values: invalid URL escape "%zz"'),
        ("series?match[]={}", 'invalid parameter "match[]": match[] must contain at least one non-empty matcher'),
        ("series?match[]=+", 'invalid parameter "match[]": 1:1: parse error: no name'),
        ("labels?match[]={}", "match[] must contain at least one non-empty matcher"),
        ("labels?match[]=+", "1:1: parse error: no name"),
        (
            "labels?start=x",
            'invalid parameter "start": invalid time value for \'start\': cannot parse "x" to a valid timestamp',
        ),
        ("label/%ff/values", r'invalid label name: "\xff"'),
        ("metadata?limit=x", "limit must be a number"),
        ("metadata?limit_per_metric=1.5", "limit_per_metric must be a number"),
    ],
)
async def test_bad_parameters(api: ApiLab, path: str, message: str) -> None:
    """Each is answered 400 with Prometheus' text, and nothing is evaluated."""
    reply = await api.get(f"/api/v1/{path}")

    assert reply.status == 400
    assert reply.json == error(message)
    assert not api.queries.asked


async def test_11000_steps_are_taken(api: ApiLab) -> None:
    """Prometheus divides whole: 11,000 steps and a part of one are taken."""
    window = (("start", "0"), ("end", "11000.999"), ("step", "1"))

    assert (await api.get("/api/v1/query_range", QUERY, *window)).status == 200


async def test_series(api: ApiLab) -> None:
    """Label sets are sorted and, over several selectors, without repeats; a limit cuts with a warning."""
    both = (("match[]", "up"), ("match[]", "down"), ("match[]", "up"))

    every = (await api.get("/api/v1/series", *both)).json
    cut = (await api.ask("/api/v1/series", "POST", form=[*both, ("limit", "1")])).json

    assert every["data"] == [
        {"__name__": "down", "job": "b"},
        {"__name__": "up", "instance": "x:1", "job": "a"},
        {"__name__": "up", "instance": "y:1", "job": "b"},
    ]
    assert "warnings" not in every
    assert cut["data"] == every["data"][:1]
    assert cut["warnings"] == ["results truncated due to limit"]
    assert api.index.windows[0] == (params.MIN_TIME_NS // params.MS, params.MAX_TIME_NS // params.MS)


async def test_labels(api: ApiLab) -> None:
    """Names of all series, of matching ones, within a time, and up to a limit."""
    assert (await api.get("/api/v1/labels")).json["data"] == ["__name__", "instance", "job"]
    matched = await api.ask("/api/v1/labels", "POST", form=[("match[]", "down"), ("start", "1"), ("end", "2")])
    assert matched.json["data"] == ["__name__", "job"]
    assert api.index.windows[-1] == (1000, 2000)
    assert (await api.get("/api/v1/labels", ("start", "2"), ("end", "1"))).json["data"] == []
    assert (await api.get("/api/v1/labels", ("limit", "2"))).json == {
        "status": "success",
        "data": ["__name__", "instance"],
        "warnings": ["results truncated due to limit"],
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("job", ["a", "b"]),
        ("__name__", ["down", "up"]),
        ("nosuch", []),
        ("a-b", []),
        ("U__j_6F_b", ["a", "b"]),
        ("U___", []),
        ("%6Aob", ["a", "b"]),
    ],
)
async def test_label_values(api: ApiLab, name: str, values: list[str]) -> None:
    """Values of a label; its name may be percent-encoded or in the U__ form."""
    assert (await api.get(f"/api/v1/label/{name}/values")).json == {"status": "success", "data": values}


async def test_metadata(api: ApiLab) -> None:
    """All families, one, or so many, with so many entries each."""
    every = (await api.get("/api/v1/metadata")).json["data"]

    assert list(every) == ["down", "up"]
    assert [entry["help"] for entry in every["up"]] == ["Whether it is up.", "Other."]
    assert list((await api.get("/api/v1/metadata", ("limit", "1"))).json["data"]) == ["down"]
    assert list((await api.get("/api/v1/metadata", ("limit", "-1"))).json["data"]) == ["down", "up"]
    assert (await api.get("/api/v1/metadata", ("metric", "nosuch"))).json["data"] == {}
    one = await api.get("/api/v1/metadata", ("metric", "up"), ("limit_per_metric", "1"))
    assert one.json["data"] == {"up": every["up"][:1]}


@pytest.mark.parametrize("path", ["query?query=1", "labels", "label/job/values", "metadata", "series?match[]=up"])
async def test_workspaces(api: ApiLab, path: str) -> None:
    """A workspace answers under its own path; an unknown one is 404 in the API's envelope."""
    assert (await api.get(f"/workspaces/default/api/v1/{path}")).raw == (await api.get(f"/api/v1/{path}")).raw
    unknown = await api.get(f"/workspaces/ws-nosuch/api/v1/{path}")

    assert unknown.status == 404
    assert unknown.json == error('workspace "ws-nosuch" does not exist', "not_found")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("PUT", "/api/v1/query", 405, "GET, OPTIONS, POST"),
        ("HEAD", "/api/v1/query", 405, "GET, OPTIONS, POST"),
        ("POST", "/api/v1/label/job/values", 405, "GET, OPTIONS"),
        ("POST", "/-/healthy", 405, "GET, HEAD, OPTIONS"),
        ("GET", "/api/v1/nosuch", 404, None),
        ("GET", "/api/v1/query/", 404, None),
        ("GET", "/api/v1/label//values", 404, None),
        ("GET", "/workspaces//api/v1/labels", 404, None),
    ],
)
async def test_other_methods_and_paths(api: ApiLab, method: str, path: str, status: int, allow: str | None) -> None:
    """Wrong methods are 405 with what is allowed, unknown paths 404."""
    reply = await api.ask(path, method)

    assert reply.status == status
    assert reply.headers.get("Allow") == allow
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_before_ready() -> None:
    """Until the daemon is ready, queries are 503 in Prometheus' words; replay can be watched, liveness is fine."""
    ready = False
    api = ApiLab(ready=lambda: ready, replay=lambda: (0, 7, 3))
    await api.start()
    try:
        for path in ("/api/v1/query?query=1", "/api/v1/labels", "/-/ready"):
            reply = await api.get(path)
            assert (reply.status, reply.raw) == (503, b"Service Unavailable\n")
            assert reply.headers["X-Prometheus-Stopping"] == "false"
        assert (await api.get("/api/v1/status/walreplay")).json["data"] == {"min": 0, "max": 7, "current": 3}
        assert (await api.get("/-/healthy")).raw == b"Prometheus Server is Healthy.\n"
        ready = True
        assert (await api.get("/-/ready")).raw == b"Prometheus Server is Ready.\n"
        assert (await api.ask("/-/ready", "HEAD")).status == 200
    finally:
        await api.close()


async def test_broken_store(api: ApiLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the store is 500 in the API's envelope."""

    def fail(*_args: Any) -> LabelTable:
        raise StoreFailed("disk gone")

    monkeypatch.setattr(api.index, "label_names", fail)
    reply = await api.get("/api/v1/labels")

    assert reply.status == 500
    assert reply.json == error("disk gone", "internal")


async def test_large_answers_are_compressed(api: ApiLab) -> None:
    """Answers of some size are packed for clients that say so, and are the same unpacked."""
    api.queries.answer = lambda query, _options: Answer("string", json.dumps([0, query * 50_000]).encode())

    plain = await api.get("/api/v1/query", QUERY)
    packed = await api.ask("/api/v1/query", headers={"Accept-Encoding": "gzip"}, form=[QUERY])
    small = await api.ask("/api/v1/labels", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert len(packed.raw) < len(plain.raw) / 50
    assert packed.json == plain.json
    assert "Content-Encoding" not in small.headers


@pytest.mark.parametrize("coding", ["", "gzip", "zstd"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_long_answers_are_streamed(api: ApiLab, coding: str, method: str) -> None:
    """They come in chunks, packed as the client takes it, and are the same as short ones."""
    rest: list[bytes | memoryview] = [b",[1,2]" * 10_000, b"", memoryview(b"]")]
    api.queries.answer = lambda _query, _options: Answer("matrix", b"[0", ["w"], ["i"], {"a": 1}, iter(rest))

    reply = await api.ask("/api/v1/query", method, {"Accept-Encoding": coding}, [QUERY, ("stats", "true")])

    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert reply.headers.get("Content-Encoding", "") == coding
    assert reply.json == {
        "status": "success",
        "data": {"resultType": "matrix", "result": [0, *([[1, 2]] * 10_000)], "stats": {"a": 1}},
        "warnings": ["w"],
        "infos": ["i"],
    }


async def test_a_client_that_leaves_ends_the_writing(api: ApiLab) -> None:
    """Nobody writes the rest of an answer that nobody reads."""
    made = 0
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def rest() -> Iterator[bytes]:
        nonlocal made
        try:
            while True:
                made += 1
                yield b" " * 65536
        finally:
            loop.call_soon_threadsafe(stopped.set)

    api.queries.answer = lambda _query, _options: Answer("matrix", b"[", rest=rest())
    assert api.listener is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", api.listener.port)
    writer.write(b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()

    await asyncio.wait_for(stopped.wait(), 10)
    assert made < 1000


async def test_an_answer_that_cannot_be_finished_is_cut_off(api: ApiLab, caplog: pytest.LogCaptureFixture) -> None:
    """The client sees that something is missing."""

    def rest() -> Iterator[bytes]:
        yield b"["
        raise AssertionError("bug: for the test")

    api.queries.answer = lambda _query, _options: Answer("matrix", b"[", rest=rest())

    with pytest.raises(aiohttp.ClientError):
        await api.get("/api/v1/query", QUERY)
    assert "an answer broke off" in caplog.text


async def test_answers_are_packed_with_zstd(api: ApiLab) -> None:
    """For clients that say so."""
    api.queries.answer = lambda query, _options: Answer("string", json.dumps([0, query * 50_000]).encode())

    plain = await api.get("/api/v1/query", QUERY)
    packed = await api.ask("/api/v1/query", headers={"Accept-Encoding": "gzip, br, zstd"}, form=[QUERY])

    assert packed.headers["Content-Encoding"] == "zstd"
    assert packed.json == plain.json


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate, GZIP;q=0.5", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "gzip"),
        ("", ""),
        ("br", ""),
        ("gzip; q=0", ""),
        ("gzip;q=x", ""),
        ("*;q=0, zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, zstd;q=0.9", "gzip"),
        ("gzip;q=0.1, zstd;q=0.2", "zstd"),
    ],
)
def test_accept_encoding(header: str, coding: str) -> None:
    """The heaviest coding wins, zstd among equals; a weight of zero means no."""
    assert chosen(header) == coding


async def test_long_answers_as_zstd(api: ApiLab) -> None:
    """A client that takes zstd gets it."""
    api.queries.answer = lambda _query, _options: Answer("vector", b"[" + b"0," * 50_000 + b"0]")

    packed = await api.ask("/api/v1/query", form=[QUERY], headers={"Accept-Encoding": "zstd"})

    assert packed.headers["Content-Encoding"] == "zstd"
    assert len(packed.json["data"]["result"]) == 50_001


async def test_a_query_whose_client_leaves_is_cancelled(api: ApiLab) -> None:
    """The engine sees the flag, and the answer nobody reads counts as 499."""
    began = asyncio.Event()
    stopped = threading.Event()
    loop = asyncio.get_running_loop()

    def work(_query: str, options: QueryOptions) -> Answer:
        loop.call_soon_threadsafe(began.set)
        try:
            while True:
                options.ticket.check()
        finally:
            stopped.set()

    api.queries.answer = work
    assert api.listener is not None
    async with api.lab.connect(api.listener) as (_reader, writer):
        writer.write(b"GET /api/v1/query?query=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(began.wait(), 5)

    assert await asyncio.to_thread(stopped.wait, 5)


async def test_a_late_query_is_stopped(api: ApiLab) -> None:
    """The timeout of the request holds, up to that of the daemon, and is told in Prometheus' words."""

    def work(_query: str, options: QueryOptions) -> Answer:
        while True:
            options.ticket.check()

    api.queries.answer = work
    reply = await api.get("/api/v1/query", QUERY, ("timeout", "0.05"))

    assert reply.status == 503
    assert reply.json == error("query timed out in expression evaluation", "timeout")
    assert not api.pool.running


async def test_queries_wait_for_a_thread(api: ApiLab) -> None:
    """Two run, two wait, the fifth is turned away; one that waits too long is told so."""
    go_on = threading.Event()

    def work(query: str, _options: QueryOptions) -> Answer:
        go_on.wait(5)
        return Answer("string", json.dumps([0, query]).encode())

    api.queries.answer = work
    running = [asyncio.create_task(api.get("/api/v1/query", QUERY)) for _ in range(2)]
    await asyncio.to_thread(wait_until, lambda: len(api.pool.running) == 2, "two run", 5)
    late = asyncio.create_task(api.get("/api/v1/query", QUERY, ("timeout", "0.5")))
    patient = asyncio.create_task(api.get("/api/v1/query", QUERY))
    await asyncio.to_thread(wait_until, lambda: api.pool.waiting == 2, "two wait", 5)

    surplus = await api.get("/api/v1/query", QUERY)
    assert (surplus.status, surplus.json["errorType"]) == (503, "unavailable")
    assert (await late).json == error("query timed out in query queue", "timeout")
    go_on.set()
    for task in (*running, patient):
        assert (await task).status == 200


class Scraper:
    """Has two targets and a dropped one."""

    def targets(self) -> Targets:
        return Targets(
            active=[
                ActiveTarget(
                    discovered_labels={"__address__": "x:1"},
                    labels={"instance": "x:1", "job": "a"},
                    scrape_pool="a",
                    scrape_url="http://x:1/metrics",
                    last_error='bad "page" <b>',
                    last_scrape_ns=NOW_NS,
                    last_scrape_s=0.25,
                    health="down",
                    scrape_interval="15s",
                    scrape_timeout="10s",
                ),
                ActiveTarget(discovered_labels={}, labels={}, scrape_pool="b", scrape_url="http://y:1/metrics"),
            ],
            dropped=[DroppedTarget(discovered_labels={"__address__": "z:1"}, scrape_pool="a")],
            dropped_counts={"a": 1, "b": 0},
        )


async def test_targets() -> None:
    """Active and dropped targets in Prometheus' shape, limited by state and scrape job."""
    registry = TargetsRegistry()
    api = ApiLab(targets=registry)
    await api.start()
    try:
        nothing = (await api.get("/api/v1/targets")).json["data"]
        scraper = Scraper()
        registry.add(scraper)
        every = (await api.get("/api/v1/targets")).json["data"]
        active = (await api.get("/api/v1/targets", ("state", "active"), ("scrapePool", "b"))).json["data"]
        dropped = (await api.get("/api/v1/targets", ("state", "dropped"), ("scrapePool", "b"))).json["data"]
        registry.remove(scraper)
    finally:
        await api.close()

    assert nothing == {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}
    assert every["activeTargets"][0] == {
        "discoveredLabels": {"__address__": "x:1"},
        "labels": {"instance": "x:1", "job": "a"},
        "scrapePool": "a",
        "scrapeUrl": "http://x:1/metrics",
        "globalUrl": "http://x:1/metrics",
        "lastError": 'bad "page" <b>',
        "lastScrape": "2023-11-14T22:13:20.123456789Z",
        "lastScrapeDuration": 0.25,
        "health": "down",
        "scrapeInterval": "15s",
        "scrapeTimeout": "10s",
    }
    assert every["droppedTargets"] == [{"discoveredLabels": {"__address__": "z:1"}, "scrapePool": "a"}]
    assert every["droppedTargetCounts"] == {"a": 1, "b": 0}
    assert [target["lastScrape"] for target in active["activeTargets"]] == ["0001-01-01T00:00:00Z"]
    assert (active["droppedTargets"], active["droppedTargetCounts"]) == ([], None)
    assert dropped == {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {"b": 0}}
    assert registry.targets() == Targets(active=[], dropped=[], dropped_counts={})


async def test_status(api: ApiLab) -> None:
    """Build, run time, flags and configuration answer in Prometheus' shapes."""
    build = (await api.get("/api/v1/status/buildinfo")).json["data"]
    runtime = (await api.get("/api/v1/status/runtimeinfo")).json["data"]

    assert set(build) == {"version", "revision", "branch", "buildUser", "buildDate", "goVersion"}
    assert build["version"].startswith("3.")
    assert runtime["startTime"] == "2023-11-14T22:13:20.123456789Z"
    assert (await api.get("/api/v1/status/flags")).json == {"status": "success", "data": {}}
    assert (await api.get("/api/v1/status/config")).json["data"] == {"yaml": ""}


async def test_cardinality(api: ApiLab) -> None:
    """What a workspace's series are made of, in Prometheus' words; the limit is of each list."""
    reply = await api.get("/workspaces/default/api/v1/status/tsdb")
    assert reply.json["data"] == {
        "headStats": {"numSeries": 3, "numLabelPairs": 5, "chunkCount": 4, "minTime": -5, "maxTime": 6},
        "seriesCountByMetricName": [{"name": "up", "value": 2}, {"name": "down", "value": 1}],
        "labelValueCountByLabelName": [{"name": "job", "value": 2}],
        "memoryInBytesByLabelName": [{"name": "job", "value": 3}],
        "seriesCountByLabelValuePair": [{"name": "job=b", "value": 2}],
    }
    one = await api.get("/api/v1/status/tsdb?limit=1")
    assert one.json["data"]["seriesCountByMetricName"] == [{"name": "up", "value": 2}]
    assert (await api.get("/workspaces/other/api/v1/status/tsdb")).status == 404


async def test_exemplars(api: ApiLab) -> None:
    """Those of every series that any selector of the expression selects, once, by ascending labels."""
    query = "sum(rate(up[5m])) + down + down offset 1h"
    found = await api.get("/api/v1/query_exemplars", ("query", query), ("start", "1"), ("end", "2.5"))
    assert (await api.get("/api/v1/query_exemplars", ("query", "1"))).status == 204
    exemplars = [
        {"labels": {"trace_id": "é", "a": "b"}, "value": "0.5", "timestamp": 1.5},
        {"labels": {}, "value": "+Inf", "timestamp": 2},
    ]
    assert found.json == {
        "status": "success",
        "data": [
            {"seriesLabels": {"__name__": "down", "job": "b"}, "exemplars": exemplars},
            {"seriesLabels": {"__name__": "up", "instance": "y:1", "job": "b"}, "exemplars": exemplars},
        ],
    }
    assert set(api.index.windows) == {(1000, 2500)}
