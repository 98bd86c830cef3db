"""Pages in protobuf, scraped: negotiation, native histograms, their limits, and real programs that speak it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from exposition_messages import COUNTER, GAUGE, HISTOGRAM, PROTO, family, page
from running import free_port
from scrape_lab import REPORT, ScrapeLab, samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from headrace.pipeline.native_histograms import NativeHistograms
    from running import Programs


@pytest.fixture
async def lab() -> AsyncIterator[ScrapeLab]:
    lab = ScrapeLab()
    lab.content_type = PROTO
    await lab.start()
    yield lab
    await lab.close()


NATIVE: dict[str, Any] = {
    "sample_count": 16, "sample_sum": 20.5, "schema": 3, "zero_threshold": 1e-128, "zero_count": 2,
    "positive_span": [{"offset": 1, "length": 4}], "positive_delta": [1, 2, -1, 5],
    "negative_span": [{"offset": 0, "length": 1}], "negative_delta": [1],
    "bucket": [{"cumulative_count": 9, "upper_bound": 1}],
    "created_timestamp": {"seconds": 1_600_000_000},
}  # fmt: skip
DURATIONS = family("durations", HISTOGRAM, {"labels": {"a": "b"}, "histogram": NATIVE})


def native_of(lab: ScrapeLab) -> NativeHistograms:
    native = lab.sink.batches[-1].native
    assert native is not None
    return native


async def test_protobuf_is_asked_for_where_native_histograms_are(lab: ScrapeLab) -> None:
    """The Accept header puts protobuf first with native histograms, and leaves it out without."""
    lab.page = b""
    await lab.scrape(await lab.scraper(scrape_native_histograms=True))
    asked = lab.requests[-1].headers["Accept"]
    proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6"
    assert asked.startswith(proto + ",application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,")
    await lab.scrape(await lab.scraper())
    assert "protobuf" not in lab.requests[-1].headers["Accept"]
    await lab.scrape(await lab.scraper(scrape_protocols=["PrometheusText0.0.4", "PrometheusProto"]))
    assert lab.requests[-1].headers["Accept"] == f"text/plain;version=0.0.4;q=0.6,{proto[:-1]}5,*/*;q=0.4"


async def test_a_native_histogram_arrives_with_its_series(lab: ScrapeLab) -> None:
    """It is one sample of the family's series, at the time of the scrape, with when its counting began."""
    scraper = await lab.scraper(shared={"scrape_native_histograms": True})
    found = await lab.scrape(scraper, page(DURATIONS, family("up_to", GAUGE, {"gauge": {"value": 3}})))
    assert samples(found) == {"up_to": 3.0}
    assert (found["scrape_samples_scraped"], found["scrape_series_added"]) == (2.0, 2.0)
    native, table = native_of(lab), lab.sink.batches[-1].table
    series = dict(table.series(int(native.series[0])).labels)
    assert series == {"__name__": "durations", "a": "b", "instance": lab.address, "job": "test"}
    assert native.time_ms.tolist() == [lab.clock.now_ns // 1_000_000]
    assert native.start_ms.tolist() == [1_600_000_000_000]
    assert native.buckets.tolist() == [1, 3, 2, 7, 1]


async def test_classic_buckets_come_instead_or_as_well(lab: ScrapeLab) -> None:
    """Without native histograms the classic buckets are taken, with always_scrape_classic_histograms both."""
    classic = {
        'durations_bucket{a="b", le="1.0"}': 9.0, 'durations_bucket{a="b", le="+Inf"}': 16.0,
        'durations_count{a="b"}': 16.0, 'durations_sum{a="b"}': 20.5,
    }  # fmt: skip
    found = await lab.scrape(await lab.scraper(), page(DURATIONS))
    assert samples(found) == classic
    assert lab.sink.batches[-1].native is None
    both: dict[str, Any] = {"scrape_native_histograms": True, "always_scrape_classic_histograms": True}
    found = await lab.scrape(await lab.scraper(**both), page(DURATIONS))
    assert samples(found) == classic
    assert len(native_of(lab)) == 1


async def test_created_timestamps_are_the_starts_of_counters(lab: ScrapeLab) -> None:
    """A counter tells when its counting began; a gauge and the metrics about the target do not."""
    counter = {"value": 5, "created_timestamp": {"seconds": 1_600_000_000}}
    await lab.scrape(
        await lab.scraper(),
        page(family("c_total", COUNTER, {"counter": counter}), family("g", GAUGE, {"gauge": {"value": 1}})),
    )
    starts = lab.sink.batches[-1].start_ns.tolist()
    assert starts == [1_600_000_000_000_000_000, 0, 0, 0, 0, 0, 0]


async def test_exemplars_of_native_histograms(lab: ScrapeLab) -> None:
    """An exemplar belongs to the series of its native histogram."""
    exemplar = {"label": [{"name": "trace_id", "value": "ab"}], "value": 0.5, "timestamp": {"seconds": 7}}
    one = family("h", HISTOGRAM, {"histogram": {**NATIVE, "exemplars": [exemplar]}})
    await lab.scrape(await lab.scraper(scrape_native_histograms=True), page(one))
    batch = lab.sink.batches[-1]
    assert batch.exemplars is not None
    assert batch.exemplars.series.tolist() == native_of(lab).series.tolist()
    assert (batch.exemplars.value.tolist(), batch.exemplars.time_ns.tolist()) == ([0.5], [7_000_000_000])


async def test_a_native_histogram_that_vanishes_is_marked_as_stale(lab: ScrapeLab) -> None:
    """Its series gets a stale marker as others do; one whose scrape fails, too."""
    scraper = await lab.scraper(scrape_native_histograms=True)
    await lab.scrape(scraper, page(DURATIONS))
    assert samples(await lab.scrape(scraper, b"")) == {'durations{a="b"}': "stale"}
    await lab.scrape(scraper, page(DURATIONS))
    assert samples(await lab.scrape(scraper, b"\xff")) == {'durations{a="b"}': "stale"}
    assert "protobuf: a field passes the end of its message" in scraper.status.error
    assert lab.failures("parse") == 1


async def test_native_histograms_that_are_wrong_are_counted(lab: ScrapeLab) -> None:
    """A histogram whose buckets do not add up is dropped; the others of the page are taken."""
    wrong = family("wrong", HISTOGRAM, {"histogram": {**NATIVE, "sample_count": 17}})
    await lab.scrape(await lab.scraper(scrape_native_histograms=True), page(wrong, DURATIONS))
    assert native_of(lab).count.tolist() == [16]
    assert lab.settings.drops.by_reason() == {"native_histogram_invalid": 1}


async def test_the_bucket_limit_makes_histograms_coarser(lab: ScrapeLab) -> None:
    """Four positive buckets and a negative one: a limit of 4 costs one resolution, a limit of 1 the scrape."""
    await lab.scrape(await lab.scraper(scrape_native_histograms=True, native_histogram_bucket_limit=5), page(DURATIONS))
    assert native_of(lab).schema.tolist() == [3]
    other = family("other", HISTOGRAM, {"histogram": {"sample_count": 1, "positive_span": [{"offset": 0, "length": 1}],
                                                      "positive_delta": [1], "schema": 3}})  # fmt: skip
    limited = await lab.scraper(scrape_native_histograms=True, native_histogram_bucket_limit=4)
    await lab.scrape(limited, page(DURATIONS, other))
    native = native_of(lab)
    assert native.schema.tolist() == [2, 3]
    assert np.diff(native.bucket_starts).tolist() == [3, 1]
    assert native.buckets.tolist() == [1 + 3, 2 + 7, 1, 1]
    tight = await lab.scraper(scrape_native_histograms=True, native_histogram_bucket_limit=1)
    found = await lab.scrape(tight, page(DURATIONS))
    assert found["up"] == 0.0
    assert "native_histogram_bucket_limit exceeded: 2 buckets in the coarsest resolution, limit 1" in tight.status.error
    assert lab.failures("native_histogram_bucket_limit") == 1


async def test_the_bucket_factor_makes_histograms_coarser(lab: ScrapeLab) -> None:
    """Buckets are at least as wide as the factor, whatever the target has."""
    scraper = await lab.scraper(scrape_native_histograms=True, native_histogram_min_bucket_factor=1.4)
    await lab.scrape(scraper, page(DURATIONS))
    native = native_of(lab)
    assert native.schema.tolist() == [1]
    assert int(native.buckets.sum()) == 14


@pytest.mark.parametrize(
    ("content_type", "why"),
    [
        ("application/vnd.google.protobuf; proto=other; encoding=delimited", "proto=other"),
        ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text", "encoding=text"),
    ],
)
async def test_other_protobuf_is_refused(lab: ScrapeLab, content_type: str, why: str) -> None:
    """Only delimited messages of the one kind are read."""
    lab.content_type = content_type
    scraper = await lab.scraper(fallback_scrape_protocol="PrometheusProto")
    await lab.scrape(scraper, b"")
    assert why in scraper.status.error


async def test_the_fallback_may_be_protobuf(lab: ScrapeLab) -> None:
    """A page without a type is read as the fallback says."""
    lab.content_type = "application/octet-stream"
    found = await lab.scrape(await lab.scraper(fallback_scrape_protocol="PrometheusProto"), page(DURATIONS))
    assert found["up"] == 1.0


async def test_limits_hold_for_protobuf(lab: ScrapeLab) -> None:
    """Sample and label limits fail the scrape whatever the format."""
    found = await lab.scrape(await lab.scraper(sample_limit=3), page(DURATIONS))
    assert found["up"] == 0.0
    limited = await lab.scraper(label_value_length_limit=20)
    long = family("g", GAUGE, {"labels": {"a": "x" * 21}, "gauge": {"value": 1}})
    assert (await lab.scrape(limited, page(long)))["up"] == 0.0
    assert "label_value_length_limit exceeded (21, limit 20): 'g'" in limited.status.error


@pytest.mark.peer
async def test_a_real_node_exporter_says_the_same_in_protobuf_as_in_text(programs: Programs, peers: Path) -> None:
    """Series that both pages have carry the same labels, and counters that stand still the same values."""
    port = free_port()
    exporter = programs.start(
        "node-exporter", [peers / "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"]
    )
    exporter.wait_http(f"http://127.0.0.1:{port}/metrics")
    found: dict[str, list[dict[str, float]]] = {}
    for protocol in ("PrometheusText0.0.4", "PrometheusProto", "PrometheusText0.0.4"):
        series = await _scraped(port, scrape_protocols=[protocol])
        found.setdefault(protocol, []).append(series)
    before, after = found["PrometheusText0.0.4"]
    [proto] = found["PrometheusProto"]
    assert len(proto) > 300
    assert set(before) & set(after) <= set(proto) <= set(before) | set(after)
    counters = {name for name in set(before) & set(after) if "_total{" in name or name.endswith("_total")}
    still = {name for name in counters if before[name] == after[name]}
    assert len(still) > 20
    assert {name for name in still if proto[name] != before[name]} == set()


@pytest.mark.peer
async def test_native_histograms_of_a_real_prometheus(programs: Programs, peers: Path, tmp_path: Path) -> None:
    """Prometheus' own page has native histograms: their counts are those of the classic ones beside them."""
    port = free_port()
    (tmp_path / "prometheus.yml").write_text("global: {}\n")
    prometheus = programs.start(
        "prometheus",
        [peers / "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'd'}",
         f"--web.listen-address=127.0.0.1:{port}"],
    )  # fmt: skip
    prometheus.wait_http(f"http://127.0.0.1:{port}/-/ready")
    lab = ScrapeLab()
    lab.clock.now_ns, lab.address = time.time_ns(), f"127.0.0.1:{port}"
    try:
        scraper = await lab.scraper(scrape_native_histograms=True, always_scrape_classic_histograms=True)
        await scraper.scrape(time.time_ns())
        await scraper.scrape(time.time_ns())
        assert scraper.status.error == ""
        batch = lab.sink.batches[-1]
        values = dict(
            zip((str(batch.table.series(i)) for i in batch.series.tolist()), batch.value.tolist(), strict=True)
        )
        native = native_of(lab)
        names = [str(batch.table.series(i)) for i in native.series.tolist()]
        assert any(name.startswith("prometheus_http_request_duration_seconds{") for name in names)
        for name, count in zip(names, native.count.tolist(), strict=True):
            assert values[name.replace("{", "_count{", 1)] == count
        assert (native.start_ms > 1_700_000_000_000).all()
    finally:
        await lab.close()


async def _scraped(port: int, **job: Any) -> dict[str, float]:
    lab = ScrapeLab()
    lab.clock.now_ns, lab.address = time.time_ns(), f"127.0.0.1:{port}"
    try:
        scraper = await lab.scraper(**job)
        await scraper.scrape(time.time_ns())
        assert scraper.status.error == ""
        return {name: float(value) for name, value in lab.found().items() if name not in REPORT}
    finally:
        await lab.close()
