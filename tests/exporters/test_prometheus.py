"""The ``prometheus`` exporter: what is shown of what came, in all three formats."""

from __future__ import annotations

import asyncio
import math
import re
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pydantic import ValidationError

from family_messages import families
from headrace.exporters.prometheus import FACTORY
from headrace.exporters.prometheus.config import PrometheusExporterConfig
from headrace.exporters.prometheus.exporter import PrometheusExporter
from headrace.exporters.prometheus.negotiation import Format, Kind, negotiate
from headrace.pipeline.batch import STALE_BITS, BatchContext, Metadata
from headrace.pipeline.counters import Counters
from headrace.pipeline.host import Host
from headrace.pipeline.identity import MetricType
from headrace.pipeline.series import SeriesTable
from headrace.testing.batches import make_batch, make_settings, with_native
from headrace.testing.clock import ManualClock
from headrace.testing.exporters import ExporterContract
from http_lab import CLOSE, Lab, body
from otlp_batches import CUMULATIVE, DELTA, OtlpBatches, attributes, request

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

S = 1_000_000_000
MS = 1_000_000
PROTOBUF_TYPE = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily"
STALE = float(STALE_BITS.view("f8"))
OPENMETRICS = Format(Kind.OPENMETRICS, "1.0.0", "allow-utf-8")
PROTOBUF = Format(Kind.PROTOBUF, "", "allow-utf-8")


class Shown:
    """An exporter under test."""

    def __init__(self, **config: Any) -> None:
        self.clock = ManualClock()
        self.settings = make_settings(
            "prometheus", kind="exporters", counters=Counters(), clock_ns=self.clock.clock_ns,
            monotonic_s=self.clock.monotonic_s,
        )  # fmt: skip
        self.exporter = PrometheusExporter(
            self.settings, PrometheusExporterConfig(**{"endpoint": "127.0.0.1:0", **config})
        )
        self.table = SeriesTable(clock_s=self.clock.monotonic_s)
        self.otlp = OtlpBatches(self.table)

    async def take(self, *series: Any, time_ns: int = 5 * S, value: Any = 1.0, metadata: Any = ()) -> None:
        batch = make_batch(list(series), table=self.table, time_ns=time_ns, value=value)
        await self.exporter.deliver(batch.with_columns(metadata=tuple(metadata)))

    async def deliver(self, batch: MetricBatch) -> Any:
        return await self.exporter.deliver(batch)

    async def text(self, form: Format | None = None, workspace: str = "default") -> str:
        return bytes(await self.exporter.page(workspace, form or Format())).decode()

    async def messages(self) -> list[Any]:
        return families(bytes(await self.exporter.page("default", PROTOBUF)))

    async def lines(self, form: Format | None = None) -> list[str]:
        return [line for line in (await self.text(form)).splitlines() if not line.startswith("#")]


def series(name: str, **labels: str) -> dict[str, str]:
    return {"__name__": name, **labels}


METADATA = [
    Metadata("http_requests_total", MetricType.COUNTER, 'Help with \\ and\nlines and "quotes".'),
    Metadata("h", MetricType.HISTOGRAM, unit="seconds"),
    Metadata("s", MetricType.SUMMARY),
    Metadata("build", MetricType.INFO),
    Metadata("state", MetricType.STATESET),
    Metadata("mystery", MetricType.UNKNOWN),
]
SERIES = [
    series("h_sum", a="2"), series("h_bucket", le="+Inf", a="2"), series("h_bucket", le="0.5", a="2"),
    series("h_count", a="2"), series("h_bucket", le="+Inf", a="1"), series("h_bucket", le="10.0", a="1"),
    series("h_bucket", le="2.0", a="1"), series("h_sum", a="1"), series("h_count", a="1"),
    series("s_count"), series("s", quantile="0.99"), series("s", quantile="0.5"), series("s_sum"),
    series("http_requests_total", path='a"b\\c\nd'), series("build_info", version="1"), series("state", state="on"),
    series("mystery"), series("nobody", le="5"),
]  # fmt: skip


async def test_text() -> None:
    """Families by name, each line of a histogram beside the others and by bound, types where they are known."""
    shown = Shown()
    await shown.take(*SERIES, value=[float(i) for i in range(len(SERIES))], metadata=METADATA)
    assert await shown.text() == (
        '# TYPE build_info gauge\nbuild_info{version="1"} 14\n'
        "# TYPE h histogram\n"
        'h_bucket{a="1",le="2.0"} 6\nh_bucket{a="1",le="10.0"} 5\nh_bucket{a="1",le="+Inf"} 4\n'
        'h_sum{a="1"} 7\nh_count{a="1"} 8\n'
        'h_bucket{a="2",le="0.5"} 2\nh_bucket{a="2",le="+Inf"} 1\nh_sum{a="2"} 0\nh_count{a="2"} 3\n'
        '# HELP http_requests_total Help with \\\\ and\\nlines and "quotes".\n'
        "# TYPE http_requests_total counter\n"
        'http_requests_total{path="a\\"b\\\\c\\nd"} 13\n'
        "# TYPE mystery untyped\nmystery 16\n"
        '# TYPE nobody untyped\nnobody{le="5"} 17\n'
        "# TYPE s summary\n"
        's{quantile="0.5"} 11\ns{quantile="0.99"} 10\ns_sum 12\ns_count 9\n'
        '# TYPE state gauge\nstate{state="on"} 15\n'
    )


async def test_openmetrics() -> None:
    """Types, units and names as OpenMetrics has them, numbers as floats, and an end."""
    shown = Shown()
    await shown.take(*SERIES[13:], series("h_count"), series("n_total"), value=2.0, metadata=[
        *METADATA, Metadata("h", MetricType.HISTOGRAM, unit="seconds"), Metadata("n", MetricType.COUNTER, "Help."),
        Metadata("nobody", MetricType.COUNTER),
    ])  # fmt: skip
    assert await shown.text(OPENMETRICS) == (
        '# TYPE build info\nbuild_info{version="1"} 2.0\n'
        "# TYPE h histogram\nh_count 2.0\n"
        '# TYPE http_requests counter\n# HELP http_requests Help with \\\\ and\\nlines and \\"quotes\\".\n'
        'http_requests_total{path="a\\"b\\\\c\\nd"} 2.0\n'
        "# TYPE mystery unknown\nmystery 2.0\n"
        "# TYPE n counter\n# HELP n Help.\nn_total 2.0\n"
        '# TYPE nobody counter\nnobody_total{le="5"} 2.0\n'
        '# TYPE state stateset\nstate{state="on"} 2.0\n'
        "# EOF\n"
    )


async def test_numbers_and_times() -> None:
    """Numbers print with the digits that tell them apart, times as milliseconds or seconds."""
    values = [1e6, 0.1, -0.0, math.inf, -math.inf, math.nan, 123456.789, 1e-7]
    names = [f"m{i}" for i in range(len(values))]
    shown = Shown(send_timestamps=True)
    await shown.take(*names, value=values, time_ns=1_700_000_000_123 * MS)
    texts = ["1e+06", "0.1", "0", "+Inf", "-Inf", "NaN", "123456.789", "1e-07"]
    assert await shown.lines() == [f"{n} {t} 1700000000123" for n, t in zip(names, texts, strict=True)]
    texts[2] = "0.0"
    assert await shown.lines(OPENMETRICS) == [f"{n} {t} 1700000000.123" for n, t in zip(names, texts, strict=True)]
    await shown.take("m0", time_ns=1_700_000_000_124 * MS, value=-2.5)
    assert (await shown.messages())[0].metric[0].timestamp_ms == 1_700_000_000_124


async def test_only_the_newest_is_shown() -> None:
    """An older sample changes nothing and is counted; a stale marker takes the series off, and back it comes."""
    shown = Shown()
    await shown.take("a", "b", value=[1.0, 2.0], time_ns=5 * S)
    await shown.take("a", "b", value=[3.0, 4.0], time_ns=4 * S)
    assert await shown.lines() == ["a 1", "b 2"]
    assert shown.settings.drops.by_reason() == {"out_of_order": 2}
    await shown.take("a", value=STALE, time_ns=6 * S)
    assert await shown.lines() == ["b 2"]
    await shown.take("a", value=7.0, time_ns=3 * S)
    await shown.take("b", "b", value=[8.0, 9.0], time_ns=7 * S)
    assert await shown.lines() == ["a 7", "b 9"]


async def test_series_expire() -> None:
    """What had no new sample for `metric_expiration` is gone, and its memory when the table frees it."""
    shown = Shown(metric_expiration="1m")
    await shown.take("old", "both")
    await shown.deliver(with_native(make_batch([], table=shown.table), ["n1", "n2"]))
    shown.clock.advance(45)
    await shown.take("both", "new", time_ns=6 * S)
    await shown.deliver(with_native(make_batch([], table=shown.table), ["n2"]))
    shown.clock.advance(30)
    shown.exporter.tidy()
    assert {line.split()[0].partition("{")[0] for line in await shown.lines()} == {
        "both", "new", "n2_bucket", "n2_sum", "n2_count"
    }  # fmt: skip
    # The table frees what only a scraper wanted, not what is shown.
    for _ in range(3):
        shown.table.collect(60)
    assert "both 1" in await shown.lines()
    assert len(shown.table) == 3
    await shown.take("fresh", value=3.0)
    assert "fresh 3" in await shown.lines()


async def test_freed_ids_show_the_new_series() -> None:
    """An id that means another series now has its name and labels."""
    shown = Shown(metric_expiration="10s")
    for number in range(4):
        await shown.take(series(f"m{number}", label=f"v{number}"), value=float(number))
        assert await shown.lines() == [f'm{number}{{label="v{number}"}} {number}']
        shown.clock.advance(100)
        for _ in range(3):
            shown.exporter.tidy()
            shown.table.collect(50)
    assert shown.table.capacity < 4


async def test_constant_labels() -> None:
    """They are added to series that lack them, histograms and messages included."""
    shown = Shown(const_labels={"zone": 'e"u', "a.b": "x"})
    await shown.take(series("m", zone="own"), series("n", b="1"), "o")
    assert await shown.lines(OPENMETRICS) == [
        'm{zone="own","a.b"="x"} 1.0', 'n{b="1",zone="e\\"u","a.b"="x"} 1.0', 'o{zone="e\\"u","a.b"="x"} 1.0'
    ]  # fmt: skip
    assert await shown.lines() == [
        'm{zone="own",a_b="x"} 1', 'n{b="1",zone="e\\"u",a_b="x"} 1', 'o{zone="e\\"u",a_b="x"} 1'
    ]  # fmt: skip
    found = [[(pair.name, pair.value) for pair in one.metric[0].label] for one in await shown.messages()]
    assert found[1:] == [[("b", "1"), ("zone", 'e"u'), ("a.b", "x")], [("zone", 'e"u'), ("a.b", "x")]]


async def test_names_beyond_the_classic_alphabet() -> None:
    """They stand within the braces, or are escaped as the scraper asks."""
    shown = Shown()
    await shown.take({"__name__": "my.name", "l.x": "v"}, "my.other")
    utf8 = Format(Kind.TEXT, "1.0.0", "allow-utf-8")
    assert await shown.lines(utf8) == ['{"my.name","l.x"="v"} 1', '{"my.other"} 1']
    assert await shown.lines() == ['my_name{l_x="v"} 1', "my_other 1"]
    assert await shown.lines(Format(scheme="dots")) == ['my_dot_name{l_dot_x="v"} 1', "my_dot_other 1"]
    assert await shown.lines(Format(scheme="values")) == [
        'U__my_2e_name{U__l_2e_x="v"} 1', "U__my_2e_other 1"
    ]  # fmt: skip
    assert "# TYPE my_name untyped" in await shown.text()
    assert '# TYPE "my.name" untyped' in await shown.text(utf8)


def otlp_request() -> Any:
    message, scope = request({"service__name": "shop", "service__instance__id": "i", "zone": "z"}, "lib@1.2")
    sum_ = scope.metrics.add(name="http.requests", unit="By", description="Requests.").sum
    sum_.aggregation_temporality, sum_.is_monotonic = CUMULATIVE, True
    point = sum_.data_points.add(time_unix_nano=5 * S, start_time_unix_nano=2 * S + 500 * MS, as_int=7)
    attributes(point, http__method="GET")
    exemplar = point.exemplars.add(time_unix_nano=4 * S, as_double=2.5, trace_id=b"\x01" * 16, span_id=b"\x02" * 8)
    attributes(exemplar, user__id="u")
    histogram = scope.metrics.add(name="latency", unit="s", description="Took.").histogram
    histogram.aggregation_temporality = CUMULATIVE
    point = histogram.data_points.add(
        time_unix_nano=5 * S, start_time_unix_nano=S, count=3, sum=1.5, bucket_counts=[1, 2], explicit_bounds=[0.5]
    )  # fmt: skip
    point.exemplars.add(time_unix_nano=4 * S, as_double=0.25)
    exponential = scope.metrics.add(name="size").exponential_histogram
    exponential.aggregation_temporality = CUMULATIVE
    point = exponential.data_points.add(
        time_unix_nano=5 * S, start_time_unix_nano=S, count=6, sum=4.5, scale=1, zero_count=1, zero_threshold=0.1
    )  # fmt: skip
    point.positive.offset = 2
    point.positive.bucket_counts.extend([1, 0, 3])
    point.negative.bucket_counts.append(1)
    summary = scope.metrics.add(name="took", unit="ms").summary
    point = summary.data_points.add(time_unix_nano=5 * S, start_time_unix_nano=S, count=4, sum=9)
    point.quantile_values.add(quantile=0.5, value=2.25)
    scope.metrics.add(name="level", unit="1").gauge.data_points.add(time_unix_nano=5 * S, as_double=0.5)
    return message


TARGET = 'instance="i",job="shop",otel_scope_name="lib",otel_scope_version="1.2"'


async def test_otlp_in_text() -> None:
    """Names, types, help and the labels of target and scope; exponential buckets have no place here."""
    shown = Shown()
    outcome = await shown.deliver(shown.otlp.of(otlp_request()))
    assert (outcome.points, outcome.rejected) == (5, {})
    method = TARGET.replace("instance", 'http_method="GET",instance', 1)
    assert await shown.text() == (
        f"# HELP http_requests_bytes_total Requests.\n# TYPE http_requests_bytes_total counter\n"
        f"http_requests_bytes_total{{{method}}} 7\n"
        f"# HELP latency_seconds Took.\n# TYPE latency_seconds histogram\n"
        + "".join(
            f"latency_seconds_bucket{{{le_first('0.5' if bound == '0.5' else bound)}}} {count}\n"
            for bound, count in (("0.5", 1), ("+Inf", 3))
        )
        + f"latency_seconds_sum{{{TARGET}}} 1.5\nlatency_seconds_count{{{TARGET}}} 3\n"
        f"# TYPE level_ratio gauge\nlevel_ratio{{{TARGET}}} 0.5\n"
        f'# TYPE target_info untyped\ntarget_info{{instance="i",job="shop",zone="z"}} 1\n'
        f"# TYPE took_milliseconds summary\n"
        f"took_milliseconds{{{le_first('0.5', 'quantile')}}} 2.25\n"
        f"took_milliseconds_sum{{{TARGET}}} 9\ntook_milliseconds_count{{{TARGET}}} 4\n"
        f"# TYPE size histogram\n"
        f'size_bucket{{{TARGET},le="+Inf"}} 6\nsize_sum{{{TARGET}}} 4.5\nsize_count{{{TARGET}}} 6\n'
    )


def le_first(bound: str, name: str = "le") -> str:
    """Return the labels with a bound at its place among them."""
    pairs = [*re.findall(r'\w+="[^"]*"', TARGET), f'{name}="{bound}"']
    return ",".join(sorted(pairs))


async def test_otlp_in_openmetrics() -> None:
    """Exemplars of counters and buckets, and units."""
    shown = Shown()
    await shown.deliver(shown.otlp.of(otlp_request()))
    page = await shown.text(OPENMETRICS)
    ids = f'trace_id="{"01" * 16}",span_id="{"02" * 8}"'
    (line,) = re.findall(r"^http_requests_bytes_total.*$", page, re.MULTILINE)
    _, _, exemplar = line.partition(" # ")
    labels, value, time = re.fullmatch(r"\{(.*)\} (\S+) (\S+)", exemplar).groups()  # type: ignore[union-attr]
    assert (set(labels.split(",")), value, time) == ({*ids.split(","), 'user_id="u"'}, "2.5", "4.000")
    assert re.search(r'^latency_seconds_bucket\{[^}]*le="0.5"[^}]*\} 1.0 # \{\} 0.25 4.000$', page, re.MULTILINE)
    assert "# TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\n# HELP latency_seconds Took.\n" in page
    assert "# TYPE http_requests_bytes counter\n# UNIT http_requests_bytes bytes\n" in page
    assert page.endswith("# EOF\n")


async def test_otlp_in_protobuf() -> None:
    """Everything a message can say: counts, buckets, spans, created times and exemplars."""
    shown = Shown()
    await shown.deliver(shown.otlp.of(otlp_request()))
    found = {one.name: one for one in await shown.messages()}
    assert {name: one.type for name, one in found.items()} == {
        "http_requests_bytes_total": 0, "latency_seconds": 4, "level_ratio": 1, "target_info": 3,
        "took_milliseconds": 2, "size": 4,
    }  # fmt: skip
    assert found["http_requests_bytes_total"].help == "Requests."
    counter = found["http_requests_bytes_total"].metric[0].counter
    assert (counter.value, counter.created_timestamp.seconds, counter.created_timestamp.nanos) == (7, 2, 500_000_000)
    assert (counter.exemplar.value, counter.exemplar.timestamp.seconds) == (2.5, 4)
    assert ("user.id", "u") in [(pair.name, pair.value) for pair in counter.exemplar.label]
    histogram = found["latency_seconds"].metric[0].histogram
    assert (histogram.sample_count, histogram.sample_sum, histogram.created_timestamp.seconds) == (3, 1.5, 1)
    buckets = [(bucket.upper_bound, bucket.cumulative_count) for bucket in histogram.bucket]
    assert buckets == [(0.5, 1), (math.inf, 3)]
    assert histogram.bucket[0].exemplar.value == 0.25
    assert {pair.name for pair in found["latency_seconds"].metric[0].label} == {
        "instance", "job", "otel_scope_name", "otel_scope_version"
    }  # fmt: skip
    summary = found["took_milliseconds"].metric[0].summary
    assert (summary.sample_count, summary.sample_sum, summary.created_timestamp.seconds) == (4, 9, 1)
    assert [(one.quantile, one.value) for one in summary.quantile] == [(0.5, 2.25)]
    native = found["size"].metric[0].histogram
    assert (native.schema, native.sample_count, native.zero_count, native.zero_threshold) == (1, 6, 1, 0.1)
    assert [(span.offset, span.length) for span in native.positive_span] == [(3, 3)]
    assert list(native.positive_delta) == [1, -1, 3]
    assert [(span.offset, span.length) for span in native.negative_span] == [(1, 1)]
    assert (list(native.negative_delta), native.created_timestamp.seconds) == ([1], 1)


async def test_naming_and_resource_labels() -> None:
    """Namespace, strategy and resource attributes; without the scope's labels."""
    shown = Shown(
        namespace="ns", translation_strategy="NoTranslation", without_scope_info=True,
        resource_constant_labels={"included": ["zon*"]},
    )  # fmt: skip
    await shown.deliver(shown.otlp.of(otlp_request()))
    await shown.take("up")
    utf8 = Format(Kind.TEXT, "1.0.0", "allow-utf-8")
    lines = await shown.lines(utf8)
    assert '{"ns_http.requests","http.method"="GET",instance="i",job="shop",zone="z"} 7' in lines
    assert "ns_up 1" in lines
    assert 'ns_target_info{instance="i",job="shop",zone="z"} 1' in lines
    assert '# TYPE "ns_http.requests" counter' in await shown.text(utf8)
    off = Shown(add_metric_suffixes=False, resource_to_telemetry_conversion={"enabled": True})
    await off.deliver(off.otlp.of(otlp_request()))
    assert any(line.startswith('http_requests{http_method="GET"') and 'zone="z"' in line for line in await off.lines())


async def test_deltas_are_added_up() -> None:
    """Delta sums and histograms are shown as what they come to."""
    shown = Shown()
    for step in range(3):
        message, scope = request()
        sum_ = scope.metrics.add(name="n").sum
        sum_.aggregation_temporality, sum_.is_monotonic = DELTA, True
        times = {"start_time_unix_nano": (1 + step) * S, "time_unix_nano": (2 + step) * S}
        sum_.data_points.add(as_int=step + 1, **times)
        histogram = scope.metrics.add(name="h").histogram
        histogram.aggregation_temporality = DELTA
        histogram.data_points.add(count=2, sum=1.5, bucket_counts=[1, 1], explicit_bounds=[1], **times)
        await shown.deliver(shown.otlp.of(message))
    assert await shown.lines() == [
        'h_bucket{le="1.0"} 3', 'h_bucket{le="+Inf"} 6', "h_sum 4.5", "h_count 6", "n_total 6"
    ]  # fmt: skip


async def test_a_family_has_one_type() -> None:
    """The later one of two is dropped and counted, until the earlier is gone."""
    shown = Shown(metric_expiration="1m")

    async def send(kind: str, at: int) -> Any:
        message, scope = request()
        metric = scope.metrics.add(name="level")
        if kind == "summary":
            metric.summary.data_points.add(time_unix_nano=at * S, count=1, sum=2)
        else:
            metric.gauge.data_points.add(time_unix_nano=at * S, as_int=3)
        return await shown.deliver(shown.otlp.of(message))

    await send("gauge", 1)
    assert (await send("summary", 2)).rejected == {"type_conflict": 1}
    assert await shown.lines() == ["level 3"]
    shown.exporter.tidy()
    assert (await send("summary", 3)).rejected == {"type_conflict": 1}
    shown.clock.advance(61)
    shown.exporter.tidy()
    assert (await send("summary", 4)).rejected == {}
    assert await shown.lines() == ["level_sum 2", "level_count 1"]


async def test_workspaces_have_pages_of_their_own() -> None:
    """Samples of one are not shown to those who ask for another."""
    shown = Shown()
    for workspace in ("default", "team"):
        batch = make_batch([f"of_{workspace}"], context=BatchContext(workspace))
        shown.table = batch.table  # kept alive, as the daemon keeps it
        await shown.deliver(batch)
        assert await shown.text(workspace=workspace) == f"# TYPE of_{workspace} untyped\nof_{workspace} 1\n"
    assert await shown.text(workspace="nobody") == ""
    assert await shown.text(OPENMETRICS, "nobody") == "# EOF\n"


async def test_over_http() -> None:
    """The page is negotiated, compressed where that is asked for, and both paths answer."""
    lab, shown = Lab(), Shown(enable_open_metrics=True)
    await shown.exporter.start(Host(counters=lab.counters, services={"listeners": lab.listeners}))
    await lab.listeners.start()
    try:
        await shown.take("up")
        (listener,) = lab.listeners.open
        accept = b"Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1\r\n"
        reply = await lab.talk(listener, b"GET /metrics HTTP/1.1\r\n" + accept + CLOSE + b"\r\n")
        assert b"application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8" in reply
        assert body(reply) == b"# TYPE up unknown\nup 1.0\n# EOF\n"
        plain = await lab.talk(listener, b"GET /workspaces/default/metrics HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert body(plain) == b"# TYPE up untyped\nup 1\n"
        await shown.take(*[f"metric_number_{i}" for i in range(100)])
        zipped = await lab.talk(listener, b"GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip\r\n" + CLOSE + b"\r\n")
        assert b"Content-Encoding: gzip" in zipped
        assert len(body(zipped)) < 1000
    finally:
        await lab.listeners.shutdown(0.1)
        await shown.exporter.shutdown()


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Format()),
        ("*/*", Format()),
        ("text/plain;version=0.0.4", Format()),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", Format(Kind.TEXT, "1.0.0", "allow-utf-8")),
        ("application/openmetrics-text;version=0.0.1", Format(Kind.OPENMETRICS, "0.0.1")),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", Format()),
        (
            f"{PROTOBUF_TYPE};encoding=delimited;q=0.9,application/openmetrics-text;q=0.5",
            Format(Kind.PROTOBUF, ""),
        ),
        ("application/vnd.google.protobuf;q=0,text/plain;escaping=dots;q=nonsense", Format()),
        ("text/plain;escaping=dots", Format(scheme="dots")),
    ],
)
def test_negotiation(accept: str, form: Format) -> None:
    """The heaviest type that there is wins; OpenMetrics only where it is enabled."""
    assert negotiate(accept, openmetrics=True) == form
    if form.kind is Kind.OPENMETRICS:
        assert negotiate(accept, openmetrics=False) == Format()


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"sending_queue": {"enabled": True}}, "sending_queue"),
        ({"const_labels": {"__name__": "x"}}, "cannot be the name of a label"),
        ({"translation_strategy": "Nonsense"}, "UnderscoreEscapingWithSuffixes"),
        ({"metric_expiration": "0s"}, "more than 0"),
        (
            {"resource_to_telemetry_conversion": {"enabled": True}, "resource_constant_labels": {"included": ["a"]}},
            "set either",
        ),
    ],
)
def test_settings_that_are_refused(config: dict[str, Any], why: str) -> None:
    """With the reason, and what was meant is still found where a default says nothing."""
    with pytest.raises(ValidationError, match=why):
        PrometheusExporterConfig(endpoint="127.0.0.1:0", **config)


class TestPrometheus(ExporterContract):
    """Shows the newest sample of each series, by workspace."""

    factory = FACTORY
    config: ClassVar[dict[str, Any]] = {"endpoint": "127.0.0.1:0"}

    def renew(self) -> None:
        super().renew()
        self.tables: list[SeriesTable] = []

    def create(self, config: Any) -> Any:
        self.exporter = super().create(config)
        return self.exporter

    def batches(self) -> list[MetricBatch]:
        first, second = SeriesTable(), SeriesTable()
        self.tables += first, second  # kept alive, as the daemon keeps them
        return [
            make_batch(["a", "b", "c"], table=first, value=[1.0, 2.0, 3.0]),
            make_batch(["d"], table=first),
            make_batch(["other"], table=second, context=BatchContext("team")),
        ]

    def arrived(self) -> int:
        pages = [asyncio.run(self.exporter.page(workspace, Format())) for workspace in ("default", "team")]
        return sum(not line.startswith(b"#") for page in pages for line in bytes(page).splitlines())
