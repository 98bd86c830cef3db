"""The exposition parsers, against hand-written pages, prometheus_client, and hostile bytes."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from headrace.kernels.buffers import padded
from headrace.kernels.float_text import format_canonical
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.identity import MetricType
from headrace.pipeline.wire import text as text_module
from headrace.pipeline.wire.text import NO_LINES, Page, PageReader, read_page
from headrace.pipeline.wire.text_line_kernels import NEW, Lines, mark

if TYPE_CHECKING:
    from headrace.pipeline.wire.spans import LabelSpans

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
PAGES = Path(__file__).parents[3].parent / "shared" / "conformance" / "textparse"

SECRETS = np.arange(1, 9, dtype=np.uint64).reshape(4, 2) * np.uint64(0x9E3779B97F4A7C15)

Row = tuple[dict[str, str], float, int | None]


def labels_of(page: Page, rows: list[int] | None = None) -> list[dict[str, str]]:
    """Return the labels of samples as Python sees them."""
    chosen = np.arange(len(page)) if rows is None else np.array(rows, np.intp)
    return unpacked(page.labels(chosen))


def unpacked(spans: LabelSpans) -> list[dict[str, str]]:
    found = []
    for first, last in zip(spans.starts[:-1].tolist(), spans.starts[1:].tolist(), strict=True):
        pairs = [
            (spans.buf[a : a + n].tobytes().decode(), spans.buf[b : b + m].tobytes().decode())
            for a, n, b, m in spans.spans[first:last].tolist()
        ]
        assert len(dict(pairs)) == len(pairs)
        found.append(dict(pairs))
    return found


def rows_of(data: bytes | str, *, openmetrics: bool = False) -> list[Row]:
    page = read_page(data.encode() if isinstance(data, str) else data, openmetrics=openmetrics)
    page.exemplar_labels()
    times = [time if timed else None for time, timed in zip(page.times.tolist(), page.timed.tolist(), strict=True)]
    return list(zip(labels_of(page), page.values.tolist(), times, strict=True))


@pytest.mark.parametrize(
    ("line", "labels", "value", "time"),
    [
        ("a 1", {"__name__": "a"}, 1.0, None),
        ("a\t1\t1700000000000", {"__name__": "a"}, 1.0, 1_700_000_000_000),
        ("  a  -1.5e3  -7  ", {"__name__": "a"}, -1500.0, -7),
        ("a:b_c9{} +Inf", {"__name__": "a:b_c9"}, math.inf, None),
        ('a {x="1"} 2', {"__name__": "a", "x": "1"}, 2.0, None),
        ('a{x="1"}2', {"__name__": "a", "x": "1"}, 2.0, None),
        ('a { x = "1" , y="2" , } 2', {"__name__": "a", "x": "1", "y": "2"}, 2.0, None),
        (r'a{x="\\\"\n\t"} 2', {"__name__": "a", "x": '\\"\n\\t'}, 2.0, None),
        ('a{x="} # {",y=""} 2', {"__name__": "a", "x": "} # {", "y": ""}, 2.0, None),
        ('{"my.name"} 3', {"__name__": "my.name"}, 3.0, None),
        ('a{x="1"y="2"} 2', {"__name__": "a", "x": "1", "y": "2"}, 2.0, None),
        ('a{x="1\n2"} 2', {"__name__": "a", "x": "1\n2"}, 2.0, None),
        ("a 1 9223372036854775807", {"__name__": "a"}, 1.0, 9223372036854775807),
        ('{"my.name","l.x"="v",y="2"} 3', {"__name__": "my.name", "l.x": "v", "y": "2"}, 3.0, None),
        ('{y="2", "my \\"name"} 3', {"__name__": 'my "name', "y": "2"}, 3.0, None),
        ('ä{x="1"} 1', None, 0, None),
        ('a{x="ü𐍈"} 1', {"__name__": "a", "x": "ü𐍈"}, 1.0, None),
        ("a 0.1000000000000000055511151231257827021181583404541015625", {"__name__": "a"}, 0.1, None),
        ("a 5e-324", {"__name__": "a"}, 5e-324, None),
        ("a 9007199254740993", {"__name__": "a"}, 9007199254740992.0, None),
    ],
)
def test_lines_of_text(line: str, labels: dict[str, str] | None, value: float, time: int | None) -> None:
    """Each spelling that the text format allows is read."""
    if labels is None:
        with pytest.raises(InvalidInput, match="metric name is not valid"):
            rows_of(line)
        return
    for page in (line, line + "\n", f"\n# a comment\n{line}\n\n"):
        assert rows_of(page) == [(labels, value, time)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a", "value is not a number"),
        ("a b", "value is not a number"),
        ("a 1_000", "value is not a number"),
        ("a 0x1p3", "value is not a number"),
        ("a 1e400", "out of range"),
        ("a 1 2 3", "something follows"),
        ("a 1 2.5", "timestamp"),
        ("a 1 9223372036854775808", "timestamp"),
        ("a 1\r", "value is not a number"),
        ("{} 1", "no metric name"),
        ('{a="1"} 1', "no metric name"),
        ("0a 1", "metric name is not valid"),
        ("a-b 1", "metric name is not valid"),
        ('a{0="1"} 1', "label name is not valid"),
        ('a{b:c="1"} 1', "not followed by ="),
        ("a{,} 1", "label name is not valid"),
        ('a{b="1",,c="2"} 1', "label name is not valid"),
        ("a{b} 1", "not followed by ="),
        ("a{b=1} 1", "quoted text is missing"),
        ('a{b="1} 1', "not closed"),
        ('a{b="1" 1', "not closed"),
        ('a{b="1\\', "not closed"),
        ('a{"x"} 1', "two metric names"),
        ('{"x","y"} 1', "two metric names"),
        ('{""} 1', "label name is not valid"),
        ('{"a"}{"b"} 1', "value is not a number"),
        ("# TYPE a meh", "metric type"),
        ("# TYPE a gaugehistogram", "metric type"),
    ],
)  # fmt: skip
def test_errors_name_line_and_reason(line: str, why: str) -> None:
    """The line is counted from 1 and quoted."""
    with pytest.raises(InvalidInput, match=rf"line 3: .*{why}") as caught:
        rows_of(f"ok 1\n\n{line}\nok2 2\n")
    assert line.split(maxsplit=1)[0][:4].replace("\\", "") in str(caught.value).replace("\\", "")


@pytest.mark.parametrize("data", [b'a{b="\xff"} 1\n', b'{"\xc3"} 1\n', b'a{"\xff"="x"} 1\n'])
def test_invalid_utf8_is_refused(data: bytes) -> None:
    """In names and in values."""
    with pytest.raises(InvalidInput, match=r"line 1: .*(UTF-8|not valid)"):
        rows_of(data)


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("a 1\n", "line 2: .*# EOF"),
        ("", "# EOF"),
        ("a 1\n# EOF\na 1\n", "line 3: something follows # EOF"),
        ("a 1\n\n# EOF\n", "line 2: blank lines"),
        ("a  1\n# EOF\n", "line 1: the value"),
        ("a 1 \n# EOF\n", "line 1: the timestamp"),
        ("a 1 NaN\n# EOF\n", "line 1: the timestamp"),
        ("a 1 +Inf\n# EOF\n", "line 1: the timestamp"),
        ('a{x="1", y="2"} 1\n# EOF\n', "line 1: a label name"),
        ('a{x="1"y="2"} 1\n# EOF\n', "line 1: labels are not separated"),
        ('a{x="1\n2"} 1\n# EOF\n', "line 1: a quoted text is missing or does not end"),
        ('a 1 # {x="1\n2"} 1\n# EOF\n', "line 1: a quoted text is missing or does not end"),
        ("a 1 # {}1\n# EOF\n", "line 1: the exemplar"),
        ("a 1 # {} \n# EOF\n", "line 1: the exemplar"),
        ("a 1 # 5\n# EOF\n", "line 1: the exemplar"),
        ("a 1 # {} 1 Inf\n# EOF\n", "line 1: the exemplar"),
        ("a 1 # {} 1 1 \n# EOF\n", "line 1: the exemplar"),
        ("#a_count 0\n# EOF\n", "line 1: a comment"),
        ("# FOO a b\n# EOF\n", "line 1: a comment"),
        ("# TYPE a\n# EOF\n", "line 1: a comment"),
        ("# TYPE a untyped\n# EOF\n", "line 1: there is no such metric type"),
        ("# EOFblah", "line 1"),
    ],
)
def test_openmetrics_is_stricter(page: str, why: str) -> None:
    """What text allows and OpenMetrics does not."""
    with pytest.raises(InvalidInput, match=why):
        rows_of(page, openmetrics=True)


def test_openmetrics_times_are_seconds() -> None:
    """Fractions are cut off at milliseconds; what no int64 holds is far away, not wrapped."""
    page = "a 1 1.5\na 1 -0.0019\na 1 1e30\na 1 -1e30\na 1 1234567890.1239\n# EOF\n"
    far = (1 << 63) - 1
    assert [time for _, _, time in rows_of(page, openmetrics=True)] == [1500, -1, far, -far, 1_234_567_890_123]


def test_numbers_the_kernel_leaves_to_python() -> None:
    """Values and times halfway between two doubles, in both formats."""
    odd = "9007199254740993.00000000000000000001"
    assert [row[1:] for row in rows_of(f"a {odd} 5\na 1 7\n")] == [(9007199254740994.0, 5), (1.0, 7)]
    page = f'a{{x="1"}} {odd} 1.5 # {{}} 1\nb 2 1.{"0" * 30}1\n# EOF\n'
    assert [row[1:] for row in rows_of(page, openmetrics=True)] == [(9007199254740994.0, 1500), (2.0, 1000)]


def test_numbers_of_histograms_and_summaries_have_one_spelling() -> None:
    """``le`` and ``quantile`` are rewritten below their TYPE, and nowhere else."""
    page = """# TYPE h histogram
h_bucket{le="1"} 0
h_bucket{le="1e6"} 0
h_bucket{x="y",le="+Inf"} 0
h_bucket{le="many"} 0
h_bucket{quantile="1"} 0
# TYPE s summary
s{quantile="1"} 0
s{quantile=".5"} 0
s{le="1"} 0
# TYPE g gauge
g{le="1",quantile="1"} 0
"""
    found = [[labels[name] for name in ("le", "quantile") if name in labels] for labels, _, _ in rows_of(page)]
    assert found == [["1.0"], ["1e+06"], ["+Inf"], ["many"], ["1"], ["1.0"], ["0.5"], ["1"], ["1", "1"]]


def test_the_type_is_part_of_a_raw_key() -> None:
    """The same bytes below another TYPE mean another series, so their hashes differ."""
    secrets = np.arange(8, dtype=np.uint64).reshape(4, 2)
    line = 'h{le="1"} 0\n'
    page = PageReader(secrets).read(
        f"{line}# TYPE h histogram\n{line}{line}# TYPE h gauge\n{line}# TYPE h summary\n{line}".encode(),
        openmetrics=False,
    )
    first, second, third, fourth, fifth = page.hashes.tolist()
    assert second == third
    assert first == fourth
    assert len({tuple(first), tuple(second), tuple(fifth)}) == 3


def test_metadata_is_collected_by_family() -> None:
    """HELP, TYPE and UNIT of one family are one entry."""
    page = read_page(
        b'# HELP a_seconds line\\none \\\\ \\"\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n'
        b'# TYPE "b.c" info\n# HELP d \n# EOF\n',
        openmetrics=True,
    )
    found = [(one.family, one.type, one.help, one.unit) for one in page.metadata()]
    assert found == [
        ("a_seconds", MetricType.COUNTER, 'line\none \\ "', "seconds"),
        ("b.c", MetricType.INFO, "", ""),
        ("d", MetricType.UNKNOWN, "", ""),
    ]


def test_text_keeps_escaped_quotes_in_help() -> None:
    """The text format escapes only backslash and line feed in HELP."""
    page = read_page(b'# HELP a x\\"y\\\\n\n#HELP b no\n# UNIT a s\n#\n# TYPE a untyped\n', openmetrics=False)
    assert [(one.family, one.help, one.unit) for one in page.metadata()] == [("a", 'x\\"y\\n', "")]


@pytest.mark.parametrize(
    ("page", "why"),
    [(b"# UNIT a seconds\n# EOF\n", "does not end"), (b"# HELP 0a x\n# EOF\n", "metric name"),
     (b"# HELP a \xff\n# EOF\n", "UTF-8")],
)  # fmt: skip
def test_bad_metadata(page: bytes, why: str) -> None:
    """Names, units and texts are looked at when the metadata is."""
    with pytest.raises(InvalidInput, match=rf"line 1: .*{why}"):
        read_page(page, openmetrics=True).metadata()


def test_digest_tells_whether_metadata_changed() -> None:
    """Values do not matter to it, the metadata lines and their order do."""
    reader = PageReader(np.ones((4, 2), np.uint64))

    def digest(page: str) -> tuple[int, int]:
        return reader.read(page.encode(), openmetrics=False).digest

    base = digest("# TYPE a gauge\n# TYPE b gauge\na 1\n")
    assert digest("# TYPE a gauge\na 7\n# TYPE b gauge\n") == base
    assert digest("# TYPE b gauge\n# TYPE a gauge\na 1\n") != base
    assert digest("# TYPE a gauge\n# TYPE b counter\na 1\n") != base


def test_exemplars() -> None:
    """They name their sample, and their labels come apart like those of samples."""
    page = read_page(
        b'a_total 1\na_bucket{le="1"} 1 5 # {trace_id="x\\"y",b="c"} 0.5 1.5\nb_total 2 # {} 7\n# EOF\n',
        openmetrics=True,
    )
    assert page.exemplars[:, [0, 3]].tolist() == [[1, 1], [2, 0]]
    assert page.exemplar_values.tolist() == [0.5, 7.0]
    assert page.exemplar_times.tolist() == [1500, 0]
    assert unpacked(page.exemplar_labels()) == [{"trace_id": 'x"y', "b": "c"}, {}]


def test_comments_after_blanks_are_comments() -> None:
    """And do not upset the count of lines."""
    page = read_page(b"  # TYPE a gauge\n\t# HELP a x\n  # more\na 1\n", openmetrics=False)
    assert [(one.family, one.type, one.help) for one in page.metadata()] == [("a", MetricType.GAUGE, "x")]
    assert len(page) == 1


def test_a_page_past_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a column is made."""
    monkeypatch.setattr(text_module, "MAX_BYTES", 10)
    with pytest.raises(TooLarge):
        read_page(b"a" * 11, openmetrics=False)


def test_a_reader_adapts_to_longer_pages() -> None:
    """Columns grow with the source, and shrink with it."""
    reader = PageReader(np.ones((4, 2), np.uint64))
    for n in (3, 1000, 5, 0, 40):
        data = "".join(f'# HELP m{i} x\nm{i}{{a="{i}"}} {i} # {{}} {i}\n' for i in range(n)) + "# EOF\n"
        page = reader.read(data.encode(), openmetrics=True)
        assert page.values.tolist() == list(range(n))
        assert len(page.exemplars) == len(page.meta) == n


@pytest.mark.conformance("textparse")
@pytest.mark.parametrize("name", ["alltypes.237mfs.prom.txt", "alltypes.237mfs.nometa.prom.txt"])
def test_large_pages_equal_prometheus_client(name: str) -> None:
    """Names, labels, values and types of a realistic page are those that prometheus_client reads."""
    path = PAGES / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    data = path.read_bytes()
    expected = client_rows(data.decode())
    assert sorted(map(repr, canonical(rows_of(data)))) == sorted(map(repr, expected))
    families = {f.name: f.type for f in text_string_to_metric_families(data.decode()) if f.documentation}
    ours = {one.family: one.type.text for one in read_page(data, openmetrics=False).metadata()}
    assert {name.removesuffix("_total") for name in ours} == set(families)


@pytest.mark.conformance("textparse")
@pytest.mark.parametrize(
    ("name", "samples", "exemplars"), [("alltypes.5mfs.om.txt", 53, 6), ("1histogram.om.txt", 42, 0)]
)
def test_openmetrics_pages(name: str, samples: int, exemplars: int) -> None:
    """Pages written by client_golang are read whole; the numbers were counted with grep."""
    path = PAGES / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    page = read_page(path.read_bytes(), openmetrics=True)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert len(page) == samples == len(lines)
    assert len(page.exemplars) == exemplars == sum(" # {" in line for line in lines)
    assert len(labels_of(page)) == samples
    assert len(unpacked(page.exemplar_labels())) == exemplars


def canonical(rows: list[Row]) -> list[Row]:
    """Spell numbers in labels one way: prometheus_client does so everywhere, Prometheus below a TYPE only."""
    found = []
    for labels, value, time in rows:
        spelt = dict(labels)
        for name in ("le", "quantile"):
            if name in spelt:
                spelt[name] = format_canonical(float(spelt[name]))
        found.append((dict(sorted(spelt.items())), value, time))
    return found


def client_rows(text: str) -> list[Row]:
    """Return what prometheus_client reads."""
    rows: list[Row] = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            time = None if sample.timestamp is None else round(float(sample.timestamp) * 1000)
            rows.append(({"__name__": sample.name, **sample.labels}, float(sample.value), time))
    return canonical(rows)


names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,12}", fullmatch=True).filter(lambda n: not n.startswith("__"))
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@given(st.dictionaries(names, texts, max_size=4), st.floats(), st.integers(-(10**17), 10**17) | st.none())
def test_whatever_prometheus_client_reads(labels: dict[str, str], value: float, time: int | None) -> None:
    """A made-up sample is read as prometheus_client reads it."""
    escaped = {k: v.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') for k, v in labels.items()}
    inner = ",".join(f'{name}="{text}"' for name, text in escaped.items())
    line = f"some_metric{{{inner}}} {value!r}" + ("" if time is None else f" {time}")
    [(found, got, when)] = rows_of(line)
    assert found == {"__name__": "some_metric", **labels}
    assert got == value or (math.isnan(got) and math.isnan(value))
    assert when == time


def openmetrics_of(registry: CollectorRegistry) -> bytes:
    return bytes(generate_openmetrics(registry))  # type: ignore[no-untyped-call]  # it has no types


def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    counter = Counter("requests", 'Re\nquests \\ "x"', ["path", "code"], registry=registry)
    for i in range(20):
        counter.labels(f'/a"{i}\\\n', str(200 + i)).inc(i * 1.1, exemplar={"trace_id": f"t{i}"})
    gauge = Gauge("temp_celsius", "t", unit="celsius", registry=registry)
    gauge.set(float("nan"))
    histogram = Histogram("latency", "l", ["x"], buckets=(0.1, 1, 1e7), registry=registry)
    histogram.labels("ä").observe(0.5, exemplar={"trace_id": "h"})
    Summary("size_bytes", "s", registry=registry).observe(3)
    Info("build", "b", registry=registry).info({"version": "1"})
    return registry


def test_prometheus_client_output_in_both_formats() -> None:
    """Its text equals its own reading; its OpenMetrics page holds the same counter with exemplars."""
    text = bytes(generate_latest(registry()))
    drop_created = [row for row in canonical(rows_of(text)) if not row[0]["__name__"].endswith("_created")]
    expected = [row for row in client_rows(text.decode()) if not row[0]["__name__"].endswith("_created")]
    assert list(map(repr, sorted(drop_created, key=repr))) == list(map(repr, sorted(expected, key=repr)))
    page = read_page(openmetrics_of(registry()), openmetrics=True)
    assert len(page.exemplars) == 21
    assert {"trace_id": "t7"} in unpacked(page.exemplar_labels())


def mutations(rng: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[at : at + 1] = bytes([rng.choice(b'"\\{}=,# \n\t\x00\xff019.eE+-_aNI')])
            case 1:
                del data[at : at + rng.randint(1, 9)]
            case 2:
                data[at:at] = bytes(rng.choices(b'"\\{}=,# \n\x80\xffa1', k=rng.randint(1, 5)))
            case 3:
                data[at:at] = data[at : at + rng.randint(1, 60)]
            case _:
                data = data[:at]
    return bytes(data)


@pytest.mark.fuzz
@pytest.mark.parametrize("openmetrics", [False, True])
def test_mutated_pages(openmetrics: bool) -> None:
    """A damaged page is read or refused with its line; offsets stay inside it."""
    rng = random.Random(11)
    seeds = [
        openmetrics_of(registry())[:1500] + b"# EOF\n",
        bytes(generate_latest(registry()))[:1500] + b"\n",
        b'{"a.b","c"="d"} 1 2\n# TYPE h histogram\nh_bucket{le="1"} 1 3 # {a="b"} 1 4\n# EOF\n',
    ]
    refused = unnamed = 0
    for _ in range(RUNS):
        data = mutations(rng, seeds)
        try:
            page = read_page(data, openmetrics=openmetrics)
            page.metadata()
            labels = page.labels(np.arange(len(page)))
            page.exemplar_labels()
        except InvalidInput as error:
            refused += 1
            unnamed += "line " not in str(error)
            continue
        ends = page.keys[:, 0] + page.keys[:, 1]
        assert (ends <= len(data)).all()
        assert (np.diff(page.keys[:, 0]) > 0).all()
        assert labels.starts[-1] == len(labels.spans)
    assert refused
    assert refused < RUNS or RUNS < 100
    assert unnamed == 0


@pytest.mark.fuzz
def test_random_bytes() -> None:
    """Bytes without any sense are no crash either."""
    rng = random.Random(3)
    for _ in range(RUNS):
        data = bytes(rng.choices(b'a1 {}"\\=,#\n\t\xff.eHELPTYUNIO', k=rng.randrange(80)))
        for openmetrics in (False, True):
            try:
                page = read_page(data, openmetrics=openmetrics)
                page.labels(np.arange(len(page)))
            except InvalidInput:
                continue


def known_lines(page: Page) -> Lines:
    """Return the lines of a page with the numbers of its samples as entries."""
    page.lines.entries[page.lines.entries >= NEW] = np.arange(len(page))
    return page.lines


BEFORE = '# HELP a x\n# TYPE a counter\na{b="1"} 1\na{b="2"} 2\n# mere\nc 3\n# TYPE h histogram\nh_bucket{le="1"} 4\n'


@pytest.mark.parametrize("openmetrics", [False, True])
def test_lines_of_the_page_before_are_known_again(openmetrics: bool) -> None:
    """The same lines with other numbers have the entries of the page before, in their order."""
    reader = PageReader(SECRETS)
    before = BEFORE.replace("# mere\n", "") + "# EOF\n" if openmetrics else BEFORE
    known = known_lines(reader.read(before.encode(), openmetrics=openmetrics))
    after = before.replace(" 2\n", " 22.5\n").replace(" 3\n", " -7\n")
    page = reader.read(after.encode(), openmetrics=openmetrics, known=known)
    assert page.unchanged
    assert page.entries.tolist() == [0, 1, 2, 3]
    assert page.values.tolist() == [1.0, 22.5, -7.0, 4.0]
    fresh = read_page(after.encode(), openmetrics=openmetrics)
    assert (page.flags.tolist(), page.keys.tolist()) == (fresh.flags.tolist(), fresh.keys.tolist())
    assert [one.family for one in page.metadata()] == ["a", "h"]


@pytest.mark.parametrize(
    ("old", "new", "entries"),
    [
        pytest.param('a{b="1"} 1\n', "", [1, 2, 3], id="gone"),
        pytest.param('a{b="2"} 2\n', 'a{b="2"} 2\nd 1\n', [0, 1, -1, 2, 3], id="more"),
        pytest.param('a{b="2"}', 'a{b="3"}', [0, -1, 2, 3], id="other"),
        pytest.param("# mere\n", "# more\n", [0, 1, 2, 3], id="comment"),
        pytest.param("c 3", 'c {x="y"} 3', [0, 1, -1, 3], id="labels-behind-a-blank"),
        pytest.param("c 3", "c\t3\nd 1", [0, 1, 2, -1, 3], id="tab"),
        pytest.param("h histogram", "h gauge", [0, 1, 2, -1], id="type"),
        pytest.param("# TYPE h histogram\n", "", [0, 1, 2, -1], id="type-gone"),
        pytest.param('a{b="1"} 1\na{b="2"} 2\n', 'a{b="2"} 2\na{b="1"} 1\n', [1, -1, 2, 3], id="swapped"),
    ],
)
def test_lines_that_are_new_are_read_and_the_others_stay_known(old: str, new: str, entries: list[int]) -> None:
    """A line more, less or changed costs that line; what a sample means never comes from a line that is another."""
    reader = PageReader(SECRETS)
    known = known_lines(reader.read(BEFORE.encode(), openmetrics=False))
    after = BEFORE.replace(old, new).encode()
    page = reader.read(after, openmetrics=False, known=known)
    assert not page.unchanged
    assert page.entries.tolist() == entries
    fresh = PageReader(SECRETS).read(after, openmetrics=False)
    assert (page.values.tolist(), page.flags.tolist()) == (fresh.values.tolist(), fresh.flags.tolist())
    assert labels_of(page) == labels_of(fresh)
    assert page.digest == fresh.digest
    new_rows = page.entries == NEW
    assert page.hashes[new_rows].tolist() == fresh.hashes[new_rows].tolist()
    assert page.lines.marks.tolist() == fresh.lines.marks.tolist()
    again = reader.read(after, openmetrics=False, known=known_lines(page))
    assert again.unchanged


def test_a_format_does_not_know_the_lines_of_the_other() -> None:
    """A comment that only text allows is a fault of OpenMetrics even where the page before had it."""
    reader = PageReader(SECRETS)
    known = known_lines(reader.read(b"# mere\na 1\n# TYPE b untyped\nb 1\n", openmetrics=False))
    for page in (b"# mere\na 1\n# EOF\n", b"# TYPE b untyped\nb 1\n# EOF\n"):
        with pytest.raises(InvalidInput, match="line 1"):
            reader.read(page, openmetrics=True, known=known)


def test_random_pages_after_each_other_read_as_pages_alone_do() -> None:
    """Whatever the page before was: values, labels and faults are those of a reader that knows none."""
    source = random.Random(11)
    reader, known, lines_known = PageReader(SECRETS), NO_LINES, 0
    lines = [f'm{i % 7}{{i="{i}"}}' for i in range(30)] + ["# TYPE m1 histogram", "# TYPE m1 gauge", "# HELP m2 x", "#"]
    page = [source.choice(lines) for _ in range(40)]
    for _ in range(RUNS):
        for _ in range(source.randrange(3)):
            page[source.randrange(len(page))] = source.choice(lines)
        del page[source.randrange(len(page))]
        page.insert(source.randrange(len(page)), source.choice(lines))
        text = "".join(line + ("" if line[0] == "#" else f" {source.randrange(100)}") + "\n" for line in page).encode()
        read, fresh = reader.read(text, openmetrics=False, known=known), read_page(text, openmetrics=False)
        assert (read.values.tolist(), read.flags.tolist()) == (fresh.values.tolist(), fresh.flags.tolist())
        assert labels_of(read) == labels_of(fresh)
        assert read.metadata() == fresh.metadata()
        lines_known += int((read.entries >= 0).sum())
        known = known_lines(read)
    assert lines_known > 10 * RUNS


def reference_mark(data: bytes, k0: int, k1: int) -> int:
    """Compute a line's checksum with Python's integers, as the kernel's docstring says."""
    c0, c1, mask = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, (1 << 64) - 1

    def fold(a: int, b: int) -> int:
        return (a * b & mask) ^ (a * b >> 64)

    state, k1 = k0 ^ len(data) ^ c0, k1 ^ c1
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data) // 8 * 8, 8)]
    for first, second in zip(words[0::2], words[1::2], strict=False):
        state = fold(first ^ state, second ^ k1)
    if len(words) % 2:
        state = fold(words[-1] ^ state, k1)
    return fold(int.from_bytes(data[len(data) // 8 * 8 :], "little") ^ state, k1 ^ c0)


@pytest.mark.parametrize("size", [*range(1, 34), 100])
def test_checksums_of_lines_match_the_reference(size: int) -> None:
    """Every length gives the number that plain arithmetic gives, whatever stands behind the line."""
    data = bytes(range(7, 7 + size))
    buf = padded(data + b"\xff" * 20)
    assert int(mark(buf, 0, size, SECRETS[3, 0], SECRETS[3, 1])) == reference_mark(data, *SECRETS[3].tolist())
