"""The same series in a real Prometheus and in the evaluator: answers, errors and annotations are equal.

Series have resets, gaps, stale markers, NaN and infinities, and come and go. What differs on purpose, because the
evaluator follows a newer Prometheus than the peer, is in DIFFERENT with the reason.
"""

from __future__ import annotations

import json
import math
import random
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from headrace.pipeline.errors import HeadraceError
from headrace.store.api.backend import QueryOptions
from headrace.store.api.errors import ApiError
from headrace.store.api.promql import PromQLService
from headrace.store.api.ticket import Ticket
from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.store.promql.language.parser import ParserOptions
from headrace.testing.promql_script_values import STALE
from headrace.testing.store_fakes import MemoryQueryable
from remote_write_messages import packed, request_v1
from running import Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer

START_MS = 1_700_000_000_000
STEP_MS = 15_000
SAMPLES = 240

Data = list[tuple[dict[str, str], list[tuple[int, float]]]]


def times(rng: random.Random) -> list[int]:
    """Make times with jitter, single gaps and one long gap."""
    gap = rng.randrange(SAMPLES)
    kept = [i for i in range(SAMPLES) if rng.random() > 0.03 and not gap <= i < gap + 30]
    return [START_MS + i * STEP_MS + rng.choice([0, 0, 0, rng.randrange(-3000, 3000)]) for i in kept]


def counter(rng: random.Random) -> list[tuple[int, float]]:
    """Make a counter that starts again now and then, with stale markers at some of these places."""
    value, out = rng.random() * 1000, []
    for time in times(rng):
        if rng.random() < 0.02:
            if rng.random() < 0.5:
                out.append((time, STALE))
                continue
            value = rng.choice([0.0, 3.0])
        value += rng.choice([0, 1, rng.random() * 100])
        out.append((time, value))
    return out


def gauge(rng: random.Random) -> list[tuple[int, float]]:
    """Make a gauge with some odd values."""
    odd = [math.nan, math.inf, -math.inf, -0.0, 1e-300, 1e300] if rng.random() < 0.3 else [0.0]
    return [
        (time, rng.choice(odd) if rng.random() < 0.05 else round(rng.gauss(0, 50), rng.choice([0, 3])))
        for time in times(rng)
    ]


def buckets(rng: random.Random) -> list[list[tuple[int, float]]]:
    """Make the buckets of a histogram, le 0.1, 1, 5 and +Inf; some counts of the third are too low."""
    rows: list[list[tuple[int, float]]] = [[], [], [], []]
    counts = [0, 0, 0, 0]
    for time in times(rng):
        for i in range(rng.randrange(4), 4):
            counts[i] += rng.randrange(10)
        total = 0
        for i, n in enumerate(counts):
            total += n
            rows[i].append((time, float(total - (9 if i == 2 and rng.random() < 0.05 else 0))))
    return rows


def make_data() -> Data:
    """Make all series."""
    rng = random.Random(20)
    data: Data = []
    for job in ("api", "db"):
        for instance in ("a:1", "b:1", "c:1"):
            base = {"job": job, "instance": instance}
            data.append(({"__name__": "requests_total", **base, "code": "200"}, counter(rng)))
            data.append(({"__name__": "requests_total", **base, "code": "500"}, counter(rng)))
            data.append(({"__name__": "temperature", **base}, gauge(rng)))
            data.append(({"__name__": "limit", **base}, [(t, 10.0) for t in times(rng)]))
            for le, row in zip(("0.1", "1", "5", "+Inf"), buckets(rng), strict=True):
                data.append(({"__name__": "latency_seconds_bucket", **base, "le": le}, row))
        data.append(
            ({"__name__": "build_info", "job": job, "version": f"1.{len(job)}"}, [(t, 1.0) for t in times(rng)])
        )
        data.append(({"__name__": "events", "job": job}, counter(rng)))
    data.append(({"__name__": "latency_seconds_bucket", "job": "odd", "le": "many"}, gauge(rng)))
    return data


@pytest.fixture(scope="module")
def data() -> Data:
    return make_data()


@pytest.fixture(scope="module")
def prometheus(peers: Path, tmp_path_factory: pytest.TempPathFactory, data: Data) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "prometheus.yml"
    config.write_text("scrape_configs: []\nstorage:\n  tsdb:\n    out_of_order_time_window: 100y\n")
    port = free_port()
    with Programs(folder) as programs:
        command: list[str | Path] = [
            peers / "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=200y",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            "--enable-feature=promql-experimental-functions",
        ]
        programs.start("prometheus", command).wait_http(f"http://127.0.0.1:{port}/-/ready")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/write",
            data=packed(request_v1([(labels, rows) for labels, rows in data])),
            headers={"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert reply.status == 204
        yield port


@pytest.fixture(scope="module")
def service(data: Data) -> PromQLService:
    store = MemoryQueryable()
    for labels, rows in data:
        store.add(labels, [t for t, _ in rows], [v for _, v in rows])
    return PromQLService(store, EvaluatorOptions(parser=ParserOptions(experimental_functions=True)))


OF_A_VALUE = """
abs ceil floor exp ln log2 log10 sqrt sgn sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh deg rad timestamp
scalar sort sort_desc
"""
OF_A_TIME = "hour minute month year day_of_month day_of_week day_of_year days_in_month"

QUERIES = [
    "requests_total",
    'requests_total{job="api",code!~"5.."} offset 3m',
    "requests_total offset -2m",
    "temperature @ start()",
    "temperature @ end() offset 1m",
    f"requests_total - requests_total @ {START_MS // 1000 + 900}",
    *(
        f"{function}({selector}[{window}])"
        for function in ("rate", "increase", "delta", "irate", "idelta", "deriv", "resets", "changes")
        for selector, window in (("requests_total", "1m"), ("temperature", "5m"), ("events", "47s"))
    ),
    *(
        f"{function}_over_time({selector}[{window}])"
        for function in ("sum", "avg", "min", "max", "count", "last", "present", "stddev", "stdvar", "absent", "mad")
        for selector, window in (("requests_total", "2m"), ("temperature", "5m"), ("nosuch", "1m"))
    ),
    "rate(nosuch[5m])",
    "rate(requests_total[10m] @ end())",
    "rate(requests_total[1m] offset 90s)",
    "sum(rate(requests_total[5m] @ end())) / 2",
    "quantile_over_time(0.9, temperature[5m])",
    "quantile_over_time(2, requests_total[5m])",
    "quantile_over_time(-1, requests_total[5m])",
    "predict_linear(requests_total[5m], 3600)",
    "predict_linear(temperature[10m] @ end(), 60)",
    "double_exponential_smoothing(temperature[10m], 0.3, 0.6)",
    "double_exponential_smoothing(temperature[10m], 3, 0.6)",
    'absent(nosuch{job="a",x!="y",z="q"})',
    "absent(requests_total)",
    'absent_over_time(nosuch{job="a"}[5m])',
    "absent(sum(nosuch))",
    *(
        f"{op}{by}({vector})"
        for op in ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
        for by in ("", " by (job)", " without (instance, code)")
        for vector in ("requests_total", "temperature")
    ),
    "sum by (nosuch) (requests_total)",
    "sum by (__name__, job) ({job=~'.+'})",
    "topk(2, temperature)",
    "topk by (job) (1, requests_total)",
    "bottomk(3, requests_total)",
    "topk(0, requests_total)",
    "topk(1e30, requests_total)",
    "quantile(0.5, requests_total)",
    "quantile by (job) (1.1, temperature)",
    "quantile(scalar(limit) / 20, temperature)",
    'count_values("v", limit)',
    'count_values by (job) ("value", build_info)',
    'count_values("job", round(requests_total, 1e6))',
    "limitk(0, requests_total)",
    "limit_ratio(0.5, requests_total)",
    "limit_ratio(-0.5, requests_total)",
    "requests_total * 2",
    "2 ^ temperature",
    "temperature % 7",
    "-temperature % 7",
    "temperature / 0",
    "temperature atan2 3",
    "1 - 2 * 3 ^ 2 % 5 / 7 atan2 2",
    "requests_total > 100",
    "100 < bool requests_total",
    "temperature != bool temperature",
    "temperature == temperature",
    "limit < 11 > bool 5",
    "requests_total + on(job, instance) group_left limit",
    "limit + on(job, instance) group_right requests_total",
    "requests_total / on(job, instance) limit",
    "requests_total + ignoring(code) group_left limit",
    "requests_total * on(job) group_left(version) build_info",
    "build_info * on(job) group_right(version) requests_total",
    "temperature * on(job) limit",
    "temperature * on(job) group_left limit",
    "requests_total + limit",
    "requests_total and temperature",
    "requests_total and on(job, instance) temperature > 10",
    "requests_total or temperature",
    "temperature > 0 or on(job) limit",
    "requests_total unless on(instance, job) (temperature > 0)",
    "temperature unless temperature",
    "temperature - on(job, instance) group_left() limit * 2",
    "requests_total{code='200'} / ignoring(code) requests_total",
    "requests_total{code='200'} / ignoring(code) requests_total{code='500'}",
    "requests_total{code='200'} > ignoring(code) requests_total{code='500'}",
    "limit >= bool on(job, instance) temperature",
    "histogram_quantile(0.9, latency_seconds_bucket)",
    "histogram_quantile(0.5, rate(latency_seconds_bucket[5m]))",
    "histogram_quantile(0.99, sum by (le, job) (rate(latency_seconds_bucket[2m])))",
    "histogram_quantile(0.5, sum by (job) (rate(latency_seconds_bucket[2m])))",
    "histogram_quantile(1.5, latency_seconds_bucket{job='api'})",
    "histogram_quantile(NaN, latency_seconds_bucket{job='api'})",
    "histogram_quantile(0.5, latency_seconds_bucket{le!='+Inf'})",
    "histogram_quantile(0.5, latency_seconds_bucket{le='+Inf'})",
    "histogram_fraction(0.2, 3, latency_seconds_bucket)",
    "histogram_fraction(0, 1, rate(latency_seconds_bucket{job='db'}[5m]))",
    "histogram_count(requests_total)",
    *(f"{function}(temperature)" for function in OF_A_VALUE.split()),
    *(f"{function}(requests_total * on (job, instance) group_left limit * 1e6)" for function in OF_A_TIME.split()),
    *(f"{function}(temperature * on (job, instance) limit * -1e4 < Inf > -Inf)" for function in OF_A_TIME.split()),
    "clamp_min(-temperature, NaN)",
    "clamp(temperature, -0, 0)",
    "round(temperature)",
    "round(temperature, 0.1)",
    "round(temperature, 0)",
    "clamp(temperature, -10, 10)",
    "clamp(temperature, 10, -10)",
    "clamp_min(temperature, scalar(limit{job='api',instance='a:1'}))",
    "clamp_max(temperature, NaN)",
    "timestamp(requests_total offset 1m)",
    "timestamp((requests_total))",
    "timestamp(requests_total * 1)",
    "time()",
    "vector(time()) - 1",
    "scalar(build_info{job='db'}) + 1",
    "pi() * 2",
    "hour()",
    "day_of_week(vector(1e9))",
    "label_replace(requests_total, 'host', '$1-x', 'instance', '(.*):.*')",
    "label_replace(requests_total, 'code', '', 'code', '.*')",
    "label_replace(temperature, 'instance', '', '', '')",
    "label_replace(limit, '__name__', 'bound', '', '')",
    "label_replace(limit, 'x', '$1', 'job', '(')",
    "label_join(requests_total, 'all', '/', 'job', 'instance', 'nosuch')",
    "label_join(temperature, 'instance', '', 'nosuch')",
    "sort_by_label(requests_total, 'code', 'instance')",
    "sort_by_label_desc(requests_total, 'instance')",
    "sum_over_time(temperature[5m:1m])",
    "max_over_time(rate(requests_total[1m])[5m:30s])",
    "rate(requests_total[5m:20s])",
    "rate((requests_total > 5)[5m:])",
    "avg_over_time(sum(requests_total)[3m:7s] offset 11s)",
    "last_over_time(temperature[1m:10s] @ end())",
    "count_over_time(time()[5m:13s])",
    "max_over_time((time() - 5)[5m:] offset 1h)",
    "{__name__=~'limit|temperature'} * 2",
    "rate({__name__=~'limit|events',job='db'}[5m])",
    "-{__name__=~'limit|temperature'}",
    "last_over_time({__name__=~'limit|temperature'}[1m])",
    "idelta({__name__=~'limit|temperature'}[15s])",
    "rate((temperature @ end())[1m:17s])",
    "requests_total[5m]",
    "temperature[1m] offset 1m",
    "events[7m] @ start()",
    "limit[1m:20s]",
    "'a string'",
    "sum(",
    "foo(1)",
    "sum(requests_total) by (job) > 100 and on(job) count by (job) (limit) == 3",
    "(requests_total > 1e6) or vector(1)",
    "sum(rate(requests_total{code='500'}[5m])) by (job) / sum(rate(requests_total[5m])) by (job)",
    "100 * (1 - avg by (instance) (irate(requests_total[1m])))",
    "scalar(sum(limit)) > bool 3",
    "sum(sum_over_time(temperature[1m])) + sum(limit)",
]

FIRST_BUCKET = "the peer lets the first bucket begin at -Inf, so that nothing is known within it"

DIFFERENT = {
    "topk(1e30, requests_total)": "the peer takes any k where there is no data",
    "histogram_fraction(0, 1, rate(latency_seconds_bucket{job='db'}[5m]))": FIRST_BUCKET,
}

NEWER = [
    (re.compile(r' for metric name "[^"]*"'), "the name is known only where its removal is delayed"),
    (re.compile(r",? ?from buckets .* to \S+Z"), "which buckets were repaired"),
    (re.compile(r"(?<=match group ){.*?}(?= on the)"), "which group is found first depends on the order of series"),
    (re.compile(r"(?<=operation: )\[.*\]"), "so do the series named"),
]
"""What is taken out of errors and annotations before they are compared, and why."""

ONLY_OURS = "PromQL warning: sort is ineffective for range queries"
"""A warning that the peer does not have yet."""

WINDOWS = [(0, 3600, 60), (300, 1500, 37), (3500, 4500, 15)]
INSTANTS = [0, 601, 1800.5, 3599, 4000]


def ask(port: int, path: str, **params: Any) -> dict[str, Any]:
    """Ask Prometheus."""
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(params)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return dict(json.load(reply))
    except urllib.error.HTTPError as error:
        with error:
            return dict(json.load(error))


def answer(service: PromQLService, query: str, *times_s: float) -> dict[str, Any]:
    """Ask the evaluator: one time, or start, end and step; answer as the HTTP API would."""
    options = QueryOptions(Ticket(60.0))
    times_ms = [round(t * 1000) for t in times_s]
    try:
        if len(times_ms) == 1:
            found = service.instant(query, times_ms[0], options)
        else:
            found = service.range(query, times_ms[0], times_ms[1], times_ms[2], options)
    except ApiError as error:
        return {"status": "error", "errorType": error.kind, "error": str(error)}
    except HeadraceError as error:
        return {"status": "error", "error": f"bug: {error}"}
    data = {"resultType": found.kind, "result": json.loads(found.result)}
    return {"status": "success", "data": data, "warnings": list(found.warnings), "infos": list(found.infos)}


def close(one: str, other: str) -> bool:
    """Compare printed values to a relative 1e-9."""
    a, b = float(one), float(other)
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def plain(text: str) -> str:
    """Take out what is NEWER."""
    for pattern, _why in NEWER:
        text = pattern.sub("", text)
    return text


def rows(result: list[dict[str, Any]]) -> dict[tuple[tuple[str, str], ...], list[tuple[float, str]]]:
    """Return samples by labels."""
    return {
        tuple(sorted(row["metric"].items())): [tuple(p) for p in (row["values"] if "values" in row else [row["value"]])]
        for row in result
    }


def difference(query: str, wanted: dict[str, Any], got: dict[str, Any]) -> str:
    """Say how two answers differ; nothing where they are equal."""
    if wanted["status"] != got["status"]:
        return f"{wanted.get('error', 'an answer')!r} wanted, got {got.get('error', 'an answer')!r}"
    if wanted["status"] == "error":
        pair = [(x["errorType"], plain(x["error"])) for x in (wanted, got)]
        return "" if pair[0] == pair[1] else f"{pair[0]} wanted, got {pair[1]}"
    for kind in ("warnings", "infos"):
        notes = [
            sorted({plain(note) for note in x.get(kind, []) if not note.startswith(ONLY_OURS)}) for x in (wanted, got)
        ]
        if notes[0] != notes[1]:
            return f"{kind} {sorted(notes[0])} wanted, got {sorted(notes[1])}"
    one, other = wanted["data"], got["data"]
    if one["resultType"] != other["resultType"]:
        return f"{one['resultType']} wanted, got {other['resultType']}"
    if one["resultType"] in {"scalar", "string"}:
        same = one["result"][0] == other["result"][0] and (
            close(one["result"][1], other["result"][1]) if one["resultType"] == "scalar" else one == other
        )
        return "" if same else f"{one['result']} wanted, got {other['result']}"
    return difference_of_rows(query, one["result"], other["result"])


def difference_of_rows(query: str, wanted: list[dict[str, Any]], got: list[dict[str, Any]]) -> str:
    """Say how two vectors or matrices differ."""
    one, other = rows(wanted), rows(got)
    if set(one) != set(other):
        return f"missing {sorted(set(one) - set(other))[:3]}, too many {sorted(set(other) - set(one))[:3]}"
    ordered = query.startswith(("sort", "topk(", "bottomk(")) or (wanted and "values" in wanted[0])
    if ordered and list(one) != list(other):
        return f"order {list(one)[:4]} wanted, got {list(other)[:4]}"
    for key, samples in one.items():
        if len(samples) != len(other[key]):
            return f"{dict(key)}: {len(samples)} points wanted, got {len(other[key])}"
        for (t, v), (u, w) in zip(samples, other[key], strict=True):
            if t != u or not close(v, w):
                return f"{dict(key)}: {t} {v} wanted, got {u} {w}"
    return ""


def differences(port: int, service: PromQLService, query: str) -> list[str]:
    """Compare at all times."""
    base = START_MS / 1000
    found = []
    for start, end, step in WINDOWS:
        wanted = ask(port, "query_range", query=query, start=base + start, end=base + end, step=step)
        if why := difference(query, wanted, answer(service, query, base + start, base + end, step)):
            found.append(f"range {start}..{end} step {step}: {why}")
    for time in INSTANTS:
        wanted = ask(port, "query", query=query, time=base + time)
        if why := difference(query, wanted, answer(service, query, base + time)):
            found.append(f"at {time}: {why}")
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_answers_are_those_of_prometheus(query: str, prometheus: int, service: PromQLService) -> None:
    """Over three ranges and at five times, everything that the HTTP API shows is equal."""
    found = differences(prometheus, service, query)
    if query in DIFFERENT:
        assert found, "no difference any more: take it out of DIFFERENT"
    else:
        assert not found, "\n".join(found)
