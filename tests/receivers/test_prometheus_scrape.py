"""A target's pages and what the receiver makes of them, over real HTTP."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.pipeline.batch import Flag
from headrace.pipeline.errors import Refused
from headrace.pipeline.identity import MetricType
from headrace.pipeline.series import SeriesLimits
from headrace.receivers.prometheus.scrape import cancel
from scrape_lab import OPENMETRICS, STALE, ScrapeLab, report, samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))


@pytest.fixture
async def lab() -> AsyncIterator[ScrapeLab]:
    lab = ScrapeLab()
    await lab.start()
    yield lab
    await lab.close()


async def test_a_page_becomes_samples_with_the_targets_labels(lab: ScrapeLab) -> None:
    """Job and instance are added, and the five metrics about the scrape."""
    scraper = await lab.scraper()
    lab.page = 'a 1\nb{x="y"} 2\n'
    lab.clock.advance(10)
    await scraper.scrape(lab.clock.now_ns)
    batch = lab.sink.batches[-1]
    names = [str(batch.table.series(i)) for i in batch.series.tolist()]
    where = f'instance="{lab.address}", job="test"'
    assert names[:3] == [f"a{{{where}}}", f'b{{{where}, x="y"}}', f"up{{{where}}}"]
    assert batch.time_ns.tolist() == [lab.clock.now_ns] * 7
    assert report(lab.found()) == (1.0, 2.0, 2.0, 2.0)
    assert batch.context.source == "prometheus"


async def test_a_second_scrape_costs_no_first_sight(lab: ScrapeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known raw keys are not looked at again; a new one is."""
    scraper = await lab.scraper()
    await lab.scrape(scraper, "a 1\nb 1\n")
    looked: list[int] = []
    verdicts = scraper._labeller.verdicts

    async def counted(page: Any, rows: Any, known: int) -> Any:
        looked.append(len(rows))
        return await verdicts(page, rows, known)

    monkeypatch.setattr(scraper._labeller, "verdicts", counted)
    assert report(await lab.scrape(scraper, "b 2\na 3\n")) == (1.0, 2.0, 2.0, 0.0)
    assert report(await lab.scrape(scraper, "b 2\na 3\nc 1\n")) == (1.0, 3.0, 3.0, 1.0)
    assert looked == [1]


async def test_vanished_series_are_marked_once(lab: ScrapeLab) -> None:
    """And may come back."""
    scraper = await lab.scraper()
    await lab.scrape(scraper, "a 1\nb 1\n")
    assert samples(await lab.scrape(scraper, "a 2\n")) == {"a": 2.0, "b": "stale"}
    assert samples(await lab.scrape(scraper, "a 3\n")) == {"a": 3.0}
    found = await lab.scrape(scraper, "a 4\nb 4\n")
    assert samples(found) == {"a": 4.0, "b": 4.0}
    assert report(found) == (1.0, 2.0, 2.0, 1.0)


@pytest.mark.parametrize(
    ("page", "status", "content_type", "reason", "error"),
    [
        ("a 1\n{", 200, "text/plain", "parse", "line 2: a brace"),
        ("a 1\nb{c} 1\n", 200, "text/plain", "parse", "line 2: a label name is not followed by ="),
        ('a 1\nb{c="1",c="2"} 1\n', 200, "text/plain", "invalid_series", "line 2: a label name occurs twice"),
        ("a 1\n", 200, OPENMETRICS, "parse", "# EOF"),
        ("a 1\n", 500, "text/plain", "http_status", "server returned HTTP status 500 Internal Server Error"),
        ("<html></html>", 200, "text/html; charset=utf-8", "content_type", "text/html"),
        ("a 1\n", 200, "application/vnd.google.protobuf; proto=other", "content_type", "protobuf"),
    ],
)
async def test_a_failed_scrape_ends_all_series(
    lab: ScrapeLab, page: str, status: int, content_type: str, reason: str, error: str
) -> None:
    """``up`` is 0, what was there is stale, the reason is counted and told; the next good one brings it back."""
    scraper = await lab.scraper()
    await lab.scrape(scraper, "a 1\nz 1\n")
    lab.status, lab.content_type = status, content_type
    found = await lab.scrape(scraper, page)
    assert samples(found) == {"a": "stale", "z": "stale"}
    assert found["up"] == 0.0
    assert lab.failures(reason) == 1
    assert error in scraper.status.error
    lab.status, lab.content_type = 200, "text/plain"
    found = await lab.scrape(scraper, "a 1\nz 1\n")
    assert samples(found) == {"a": 1.0, "z": 1.0}
    assert found["up"] == 1.0
    assert scraper.status.error == ""


async def test_honor_labels(lab: ScrapeLab) -> None:
    """By default the target's labels win, and what they hide is kept as exported; honoured, the page's win."""
    page = 'a{job="x",exported_job="y",instance=""} 1\nb{job=""} 2\n'
    scraper = await lab.scraper()
    found = samples(await lab.scrape(scraper, page))
    assert found == {'a{exported_exported_job="x", exported_job="y"}': 1.0, "b": 2.0}
    scraper = await lab.scraper(honor_labels=True)
    found = samples(await lab.scrape(scraper, page))
    assert found == {'a{exported_job="y", job="x"}': 1.0, "b": 2.0}
    table = lab.sink.batches[-1].table
    assert [table.series(i)["job"] for i in lab.sink.batches[-1].series.tolist()[:2]] == ["x", ""]


async def test_external_labels_stand_back(lab: ScrapeLab) -> None:
    """They are added to all series, save where a label of that name is there."""
    scraper = await lab.scraper(shared={"external_labels": {"zone": "e", "job": "no"}})
    found = await lab.scrape(scraper, 'a 1\nb{zone="p"} 1\n')
    assert {'a{zone="e"}', 'b{zone="p"}', 'up{zone="e"}'} <= set(found)


async def test_timestamps(lab: ScrapeLab) -> None:
    """They are used, and such series are not marked when they vanish, unless asked for; or they are ignored."""
    now_ms = lab.clock.now_ns // 10**6
    page = f"a 1 {now_ms - 500}\nb 2\nc 3 {now_ms + 700_000}\nd 4 -{now_ms}\ne 5 99999999999999999\n"

    async def times(scraper: Any) -> dict[str, int]:
        await lab.scrape(scraper, page)
        batch = lab.sink.batches[-1]
        names = [batch.table.series(i).name for i in batch.series.tolist()]
        found = zip(names, batch.time_ns.tolist(), strict=True)
        return {name: time_ns - lab.clock.now_ns for name, time_ns in found if name in set("abcde")}

    scraper = await lab.scraper()
    found = await times(scraper)
    assert (found["a"], found["b"]) == (-10_500_000_000, 0)
    assert set(found) == {"a", "b", "d"}
    assert lab.settings.drops.by_reason() == {"out_of_bounds": 2}
    assert samples(await lab.scrape(scraper, "x 1\n")) == {"x": 1.0, "b": "stale"}

    scraper = await lab.scraper(track_timestamps_staleness=True)
    await times(scraper)
    gone = samples(await lab.scrape(scraper, "x 1\n"))
    assert gone == {"x": 1.0} | dict.fromkeys("abcde", "stale")

    scraper = await lab.scraper(honor_timestamps=False)
    assert await times(scraper) == dict.fromkeys("abcde", 0)
    assert set(samples(await lab.scrape(scraper, ""))) == set("abcde")


async def test_repeats_are_dropped_and_counted(lab: ScrapeLab) -> None:
    """The first sample of a series counts, however its labels are written; with timestamps each counts."""
    scraper = await lab.scraper()
    page = 'a{x="1",y="2"} 1\na{y="2",x="1"} 2\na{x="1",y="2"} 3\nt 1 1000\nt 2 2000\n'
    lab.page = page
    await scraper.scrape(lab.clock.now_ns)
    batch = lab.sink.batches[-1]
    assert batch.value.tolist()[:3] == [1.0, 1.0, 2.0]
    assert batch.time_ns.tolist()[:3] == [lab.clock.now_ns, 1_000_000_000, 2_000_000_000]
    assert lab.settings.drops.total("duplicate_sample") == 2


async def test_sample_limit_counts_what_relabelling_keeps(lab: ScrapeLab) -> None:
    """One sample past the limit fails the scrape, and no series is made for it."""
    rules = [{"source_labels": ["__name__"], "regex": "drop.*", "action": "drop"}]
    choices: list[tuple[dict[str, Any], int]] = [({}, 0), ({"metric_relabel_configs": rules}, 2)]
    for options, spare in choices:
        scraper = await lab.scraper(sample_limit=2, **options)
        extra = "drop1 1\ndrop2 1\n" if spare else ""
        found = await lab.scrape(scraper, f"{extra}a 1\nb 1\n")
        assert report(found) == (1.0, 2.0 + spare, 2.0, 2.0)
        found = await lab.scrape(scraper, f"{extra}a 1\nb 1\nc 1\n")
        assert report(found) == (0.0, 3.0 + spare, 3.0, 0.0)
        assert samples(found) == {"a": "stale", "b": "stale"}
    assert lab.failures("sample_limit") == 2


async def test_metric_relabelling_is_remembered(lab: ScrapeLab) -> None:
    """Rules run once a series; dropped ones stay dropped without being looked at."""
    rules = [
        {"source_labels": ["__name__"], "regex": "go_.*", "action": "drop"},
        {"source_labels": ["__name__"], "regex": "old", "target_label": "__name__", "replacement": "new"},
        {"regex": "secret", "action": "labeldrop"},
    ]
    scraper = await lab.scraper(metric_relabel_configs=rules)
    for value in (1.0, 2.0):
        found = await lab.scrape(scraper, f'go_x 1\nold {value}\na{{secret="x"}} {value}\n')
        assert samples(found) == {"new": value, "a": value}
        assert report(found) == (1.0, 3.0, 2.0, 2.0 if value == 1.0 else 0.0)
    assert samples(await lab.scrape(scraper, "go_x 1\n")) == {"new": "stale", "a": "stale"}


@pytest.mark.parametrize("options", [{}, {"metric_relabel_configs": [{"regex": "nothing", "action": "labeldrop"}]}])
@pytest.mark.parametrize(
    ("limit", "page"),
    [
        ({"label_limit": 4}, 'a{x="1",y="2"} 1\n'),
        ({"label_name_length_limit": 8}, 'a{ninechars="1"} 1\n'),
        ({"label_value_length_limit": 40}, 'a{x="%s"} 1\n' % ("v" * 41)),
    ],
)
async def test_label_limits(lab: ScrapeLab, options: dict[str, Any], limit: dict[str, Any], page: str) -> None:
    """A series past a limit fails the scrape, with the line and the limit; one at it does not."""
    scraper = await lab.scraper(**limit, **options)
    assert (await lab.scrape(scraper, 'a{x="1"} 1\n'))["up"] == 1.0
    assert (await lab.scrape(scraper, 'a{x="1"} 1\n' + page))["up"] == 0.0
    assert "line 2: " + next(iter(limit)) in scraper.status.error
    assert (await lab.scrape(scraper))["up"] == 0.0
    assert lab.failures("label_limit") == 2


async def test_target_limit(lab: ScrapeLab) -> None:
    """A job with more targets scrapes none of them."""
    receiver = await lab.receiver(target_limit=1, static_configs=[{"targets": [lab.address, "127.0.0.1:1"]}])
    await receiver.pools[0].scrapers[0].scrape(1)
    assert receiver.pools[0].scrapers[0].status.error == "target_limit exceeded (number of targets: 2, limit: 1)"
    assert lab.requests == []


async def test_legacy_names(lab: ScrapeLab) -> None:
    """Names that need quotes are read by default and refused by the legacy scheme."""
    page = '{"a.b","c d"="x"} 1\n'
    assert (await lab.scrape(await lab.scraper(), page))["up"] == 1.0
    scraper = await lab.scraper(metric_name_validation_scheme="legacy")
    assert (await lab.scrape(scraper, page))["up"] == 0.0
    assert "legacy" in scraper.status.error
    assert "escaping=underscores" in lab.requests[-1].headers["Accept"]


async def test_series_the_table_refuses_are_dropped_and_counted(lab: ScrapeLab) -> None:
    """A full table costs single samples, not the scrape."""
    lab.host.workspaces._limits = SeriesLimits(max_series=7)
    scraper = await lab.scraper()
    await lab.scrape(scraper, "a 1\nb 1\n")
    found = await lab.scrape(scraper, "a 1\nb 1\nc 1\nd 1\n")
    assert samples(found) == {"a": 1.0, "b": 1.0}
    assert found["up"] == 1.0
    assert lab.settings.drops.by_reason() == {"series_limit": 2}


async def test_metadata_is_sent_when_it_changes(lab: ScrapeLab) -> None:
    """Not with every scrape, and again when nobody took it."""
    page = "# HELP a help\n# TYPE a counter\na 1\n# TYPE b gauge\nb 1\n"
    scraper = await lab.scraper()
    lab.sink.refusal = Refused("full", retry_after=0)
    lab.clock.advance(10)
    lab.page = page
    await scraper.scrape(lab.clock.now_ns)
    assert lab.settings.drops.total("refused") == 7
    lab.sink.refusal = None

    async def sent(page: str) -> list[tuple[str, MetricType, str]]:
        await lab.scrape(scraper, page)
        return [(one.family, one.type, one.help) for one in lab.sink.batches[-1].metadata]

    assert await sent(page) == [("a", MetricType.COUNTER, "help"), ("b", MetricType.GAUGE, "")]
    assert await sent(page) == []
    assert await sent(page.replace("gauge", "counter")) == [("b", MetricType.COUNTER, "")]


async def test_a_refused_batch_keeps_its_stale_markers_for_later(lab: ScrapeLab) -> None:
    """What vanished while nobody listened is marked by the next scrape."""
    scraper = await lab.scraper()
    await lab.scrape(scraper, "a 1\nb 1\n")
    lab.sink.refusal = Refused("full", retry_after=0)
    lab.page = "a 1\n"
    lab.clock.advance(10)
    await scraper.scrape(lab.clock.now_ns)
    lab.sink.refusal = None
    assert samples(await lab.scrape(scraper)) == {"a": 1.0, "b": "stale"}


@pytest.mark.parametrize(
    ("page", "status", "kept"),
    [pytest.param("a 1\n", 200, {"a": 1.0}, id="good"), pytest.param("", 500, {}, id="failed")],
)
async def test_a_scrape_that_is_cancelled_keeps_its_stale_markers_for_later(
    lab: ScrapeLab, page: str, status: int, kept: dict[str, float]
) -> None:
    """As when a target goes while its batch waits, and comes back: the next scrape marks what vanished."""
    scraper = await lab.scraper()
    await lab.scrape(scraper, "a 1\nb 1\n")
    lab.sink.refusal = Refused("full", retry_after=600)
    lab.page, lab.status = page, status
    lab.clock.advance(10)
    scraping = asyncio.create_task(scraper.scrape(lab.clock.now_ns))
    while scraper.status.scrapes < 2:  # noqa: ASYNC110 -- the scraper has no event for it
        await asyncio.sleep(0.001)
    await cancel(scraping)
    lab.sink.refusal, lab.status = None, 200
    gone = {"a", "b"} - set(kept)
    assert samples(await lab.scrape(scraper)) == kept | dict.fromkeys(gone, "stale")


async def test_exemplars(lab: ScrapeLab) -> None:
    """They follow their series; too long ones are dropped and counted."""
    lab.content_type = OPENMETRICS
    long = "x" * 129
    lines = [
        "# TYPE a counter", 'a_total 5 # {trace_id="1"} 2 1.5', f'b 1 # {{t="{long}"}} 1', "c 1 # {} 3", "# EOF\n"
    ]  # fmt: skip
    page = "\n".join(lines)
    scraper = await lab.scraper(metric_relabel_configs=[
        {"source_labels": ["__name__"], "regex": "c", "action": "drop"}])  # fmt: skip
    await lab.scrape(scraper, page)
    exemplars = lab.sink.batches[-1].exemplars
    assert exemplars is not None
    assert exemplars.value.tolist() == [2.0]
    assert exemplars.time_ns.tolist() == [1_500_000_000]
    assert exemplars.series.tolist() == lab.sink.batches[-1].series[:1].tolist()
    name, name_size, value, value_size = exemplars.spans[exemplars.starts[0]].tolist()
    assert exemplars.arena[name : name + name_size].tobytes() == b"trace_id"
    assert exemplars.arena[value : value + value_size].tobytes() == b"1"
    assert lab.settings.drops.by_reason() == {"exemplar_too_long": 1}


async def test_nan_of_a_page_is_no_stale_marker(lab: ScrapeLab) -> None:
    """It is data."""
    scraper = await lab.scraper()
    await lab.scrape(scraper, "a NaN\n")
    batch = lab.sink.batches[-1]
    assert int(batch.value.view(np.uint64)[0]) == 0x7FF8000000000001 != STALE
    assert not batch.flags[0] & Flag.STALE


async def test_ids_that_the_table_frees_are_found_anew(lab: ScrapeLab) -> None:
    """After a series was idle and its id went to another, the raw key leads to the right one."""
    now = 0.0
    lab.host.workspaces._clock_s = lambda: now
    scraper = await lab.scraper()
    await lab.scrape(scraper, "a 1\nb 1\n")
    table = lab.sink.batches[-1].table
    lab.sink.batches.clear()
    now = 100.0
    await lab.scrape(scraper, "c 1\n")
    lab.sink.batches.clear()
    now = 150.0
    await lab.scrape(scraper, "c 1\n")
    assert table.collect(60) == 2
    for _ in range(3):
        lab.sink.batches.clear()
        table.collect(60)
    found = await lab.scrape(scraper, "x 1\ny 2\nc 3\n")
    assert samples(found) == {"x": 1.0, "y": 2.0, "c": 3.0}
    assert samples(await lab.scrape(scraper, "a 7\nb 8\n")) == {
        "a": 7.0, "b": 8.0, "x": "stale", "y": "stale", "c": "stale"
    }  # fmt: skip


@pytest.mark.large
async def test_the_cache_does_not_grow_with_series_that_are_gone(lab: ScrapeLab) -> None:
    """A target that renames its series with every scrape keeps few entries."""
    scraper = await lab.scraper()
    for n in range(6):
        page = "".join(f'a{{pod="{n}-{i}"}} {i}\n' for i in range(600))
        found = await lab.scrape(scraper, page)
        assert sum(value == "stale" for value in found.values()) == (600 if n else 0)
        assert report(found) == (1.0, 600.0, 600.0, 600.0)
    assert len(scraper._cache) <= 2 * 600 + 1000


async def test_nor_with_pages_that_fail(lab: ScrapeLab) -> None:
    """New series on every page, and each page broken."""
    scraper = await lab.scraper(sample_limit=500)
    await lab.scrape(scraper, "a 1\n")
    for n in range(8):
        page = "".join(f'a{{pod="{n}-{i}"}} {i}\n' for i in range(400))
        assert (await lab.scrape(scraper, page + ("a{x} 1\n" if n % 2 else 'a{x="1",x="2"} 1\n')))["up"] == 0.0
        assert len(scraper._cache) <= 1
    for n in range(8):
        page = "".join(f'a{{pod="{n}-{i}"}} {i}\n' for i in range(400))
        assert (await lab.scrape(scraper, page * 2))["up"] == 0.0
    assert lab.failures("sample_limit") == 8
    assert len(scraper._cache) <= 1400
    assert report(await lab.scrape(scraper, "a 1\n")) == (1.0, 1.0, 1.0, 0.0)


@pytest.mark.large
async def test_a_large_page_is_read_on_a_thread(lab: ScrapeLab) -> None:
    """With the same result."""
    scraper = await lab.scraper()
    page = "".join(f'some_metric_name{{some_label="value {i}"}} {i}\n' for i in range(15_000))
    assert len(page) > 600_000
    found = await lab.scrape(scraper, page)
    assert report(found) == (1.0, 15_000.0, 15_000.0, 15_000.0)
    assert report(await lab.scrape(scraper)) == (1.0, 15_000.0, 15_000.0, 0.0)


async def test_the_end_of_a_target_marks_everything(lab: ScrapeLab) -> None:
    """The metrics about it, too."""
    scraper = await lab.scraper()
    await lab.scrape(scraper, "a 1\n")
    await scraper.end(lab.clock.now_ns)
    found = lab.found()
    assert len(found) == 6
    assert set(found.values()) == {"stale"}


@pytest.mark.fuzz
@pytest.mark.parametrize("rules", [[], [{"regex": "tmp.*", "action": "labeldrop"}]])
async def test_mutated_pages_with_changing_content(lab: ScrapeLab, rules: list[dict[str, Any]]) -> None:
    """Whatever a target sends, each scrape says whether it was good, and its series are a function of that page."""
    rng = random.Random(17)
    scraper = await lab.scraper(metric_relabel_configs=rules, sample_limit=50)
    seed = b'# TYPE a counter\na{x="1",job="j"} 1\na{x="2"} 2 1700000000000\nh{le="1"} 3\n{"q.r"} 4\nb 5\n'
    alive: set[str] = set()
    verdicts = {0.0: 0, 1.0: 0}
    for _ in range(RUNS // 10):
        data = bytearray(seed)
        for _ in range(rng.randint(0, 2)):
            at = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[at] = rng.choice(b'"\\{}=,# \n\xff019abx')
            else:
                del data[at : at + rng.randint(1, 30)]
        lab.page = bytes(data)
        lab.clock.advance(10)
        await scraper.scrape(lab.clock.now_ns)
        batch = lab.sink.batches[-1]
        lab.sink.batches.clear()
        rows = list(zip(
            [str(batch.table.series(i)) for i in batch.series.tolist()], batch.value.view(np.uint64).tolist(),
            batch.time_ns.tolist(), strict=True,
        ))  # fmt: skip
        up = float(batch.value[-5])
        verdicts[up] += 1
        stale = [name for name, bits, _ in rows if bits == STALE]
        fresh = [(name, time_ns) for name, bits, time_ns in rows[:-5] if bits != STALE]
        now = {name for name, time_ns in fresh if time_ns == lab.clock.now_ns}
        assert len(now) == sum(time_ns == lab.clock.now_ns for _, time_ns in fresh), "a series twice at one time"
        assert set(stale) == alive - now
        assert len(stale) == len(set(stale))
        assert up or not fresh
        alive = now
    assert min(verdicts.values()) > 0
