"""The kernels of the ``prometheus`` exporter, against plain Python."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from family_messages import MetricFamily
from headrace.exporters.prometheus import board_kernels, label_kernels, page_kernels, protobuf_kernels
from headrace.exporters.prometheus.arena import UNKNOWN, Arena
from headrace.exporters.prometheus.labels import LabelNames, LabelTexts, Read, pair, text_label
from headrace.kernels.float_text import format_canonical
from headrace.pipeline.batch import STALE_BITS
from headrace.pipeline.identity import Series
from headrace.pipeline.series import SeriesTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHABET = ["a", "b", "le", "quantile", "äö", "x.y", "_", "9z", "job"]
VALUES = ["", "v", 'q"uo\\te\n', "ü" * 70, "0.5", "x" * 200]


def random_series(seed: int, count: int) -> list[dict[str, str]]:
    rng = random.Random(seed)
    found = []
    for number in range(count):
        names = rng.sample(ALPHABET, rng.randrange(len(ALPHABET)))
        found.append({"__name__": f"m{number}", **{name: rng.choice(VALUES) for name in names}})
    return found


def written(arena: Arena, series: int) -> bytes:
    place, size = int(arena.places[series]), int(arena.sizes[series])
    return arena.bytes[place : place + size].tobytes()


def plain(labels: tuple[tuple[str, str], ...], constant: dict[str, str], write: Any) -> list[bytes]:
    """Return labels as they stand on a page, bounds first in messages."""
    own = [(name, value) for name, value in labels if name != "__name__"]
    if write is pair:
        own.sort(key=lambda one: one[0] not in {"le", "quantile"})
    names = {name for name, _ in own}
    return [write(*one) for one in own] + [write(*one) for one in constant.items() if one[0] not in names]


@pytest.mark.parametrize("is_protobuf", [False, True])
def test_labels(is_protobuf: bool) -> None:
    """Every label of every series, escaped, with constant ones where they lack."""
    table, names = SeriesTable(), LabelNames()
    series = [Series.of(one) for one in random_series(1, 200)]
    ids = table.intern(series)
    constant = {"job": "const", "zo ne": 'c"'}
    texts = LabelTexts(names, constant, "allow-utf-8", is_protobuf=is_protobuf)
    texts.fit(table.capacity)
    for part in np.array_split(ids, 3):
        texts.learn(Read.of(table, names, part))
    write = pair if is_protobuf else text_label
    joint = b"" if is_protobuf else b","
    for one, series_id in zip(series, ids.tolist(), strict=True):
        parts = plain(one.labels, constant, write)
        assert written(texts.arena, series_id) == joint.join(parts)
        if is_protobuf:
            bounds = [write(name, value) for name, value in one.labels if name in {"le", "quantile"}]
            assert texts.cuts[series_id] == len(b"".join(bounds))
    assert not names.all_classic


def test_survey() -> None:
    """Lines of one histogram have one hash, others have others; ``le`` is found before ``quantile``."""
    table, names = SeriesTable(), LabelNames()
    labels = [
        {"__name__": "h_bucket", "le": "1", "a": "x"}, {"__name__": "h_sum", "a": "x"},
        {"__name__": "h_bucket", "le": "2", "a": "x"}, {"__name__": "h_bucket", "le": "2", "ax": ""},
        {"__name__": "h_sum", "ax": "y"}, {"__name__": "h_sum", "a": "y"},
        {"__name__": "s", "quantile": "0.5", "a": "x"},
        {"__name__": "s", "quantile": "0.5", "le": "7"},
    ]  # fmt: skip
    read = Read.of(table, names, table.intern([Series.of(one) for one in labels]))
    groups, bounds = np.empty(len(labels), np.uint64), np.empty(len(labels), np.int32)
    label_kernels.survey(*read.spans, read.which, groups, bounds)
    assert groups[0] == groups[1] == groups[2] == groups[6]
    assert len(set(groups.tolist())) == 4
    spans, buf = read.spans.spans, read.spans.buf
    found = [None if row < 0 else bytes(buf[spans[row, 2] : spans[row, 2] + spans[row, 3]]).decode() for row in bounds]
    assert found == ["1", None, "2", "2", None, None, "0.5", "7"]


def spans_of(labels: list[list[tuple[str, str]]]) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]:
    data = b""
    spans: list[tuple[int, int, int, int]] = []
    starts = [0]
    for one in labels:
        for name, value in one:
            row: list[int] = []
            for text in (name, value):
                row += (len(data), len(text.encode()))
                data += text.encode()
            spans.append(tuple(row))  # type: ignore[arg-type]
        starts.append(len(spans))
    return (
        np.frombuffer(data + bytes(16), np.uint8),
        np.array(spans, np.int32).reshape(-1, 4),
        np.array(starts, np.int32),
    )


def test_labels_of_exemplars() -> None:
    """Text has classic names only; messages have them as they are."""
    labels = [[("trace_id", "ab"), ("9a.b-c", 'x"')], [], [("ü", "y" * 100)]]
    where = spans_of(labels)
    for write, expected in (
        (label_kernels.write_exemplar_texts, ['trace_id="ab",_a_b_c="x\\""', "", '__="' + "y" * 100 + '"']),
        (label_kernels.write_exemplar_pairs, [b"".join(pair(*one) for one in some) for some in labels]),
    ):
        out, ends = np.zeros(1000, np.uint8), np.zeros(3, np.int64)
        write(*where, out, ends)
        begins = [0, *ends[:-1].tolist()]
        found = [out[begin:end].tobytes() for begin, end in zip(begins, ends.tolist(), strict=True)]
        assert found == [text.encode() if isinstance(text, str) else text for text in expected]


def test_update_against_a_dictionary() -> None:
    """Random samples, old ones, repeats and stale markers among them."""
    rng = random.Random(7)
    stale = float(STALE_BITS.view("f8"))
    live, seen = np.zeros(5, np.bool_), np.zeros(5)
    times, values, starts = np.zeros(5, np.int64), np.zeros(5), np.zeros(5, np.int64)
    model: dict[int, tuple[int, float, float]] = {}
    for step in range(200):
        rows = [(rng.randrange(5), rng.randrange(50), rng.choice([1.0, 2.5, stale])) for _ in range(rng.randrange(6))]
        older = changes = 0
        for one, time, value in rows:
            if one in model and time < model[one][0]:
                older += 1
            elif value != value:
                changes += model.pop(one, None) is not None
            else:
                changes += one not in model
                model[one] = (time, value, float(step))
        ids = np.array([one for one, _, _ in rows], np.int32)
        at, what = np.array([time for _, time, _ in rows], np.int64), np.array([value for _, _, value in rows])
        tally = np.zeros(2, np.int64)
        board_kernels.update(ids, at, what, at + 1, float(step), live, seen, times, values, starts, tally)
        assert tally.tolist() == [older, changes]
        assert {i: (int(times[i]), float(values[i]), float(seen[i])) for i in np.flatnonzero(live).tolist()} == model
        assert all(starts[i] == times[i] + 1 for i in model)


def _joined(parts: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return np.frombuffer(b"".join(parts), np.uint8).copy(), np.cumsum([0, *map(len, parts)]).astype(np.int64)


def page(n: int) -> dict[str, Any]:
    """Return a random page of n lines of 4 names in 3 families; name 3 is quoted, names 0 and 1 are one family."""
    rng = np.random.default_rng(n)
    labels = [b'a="%d"' % i if i % 3 else b"" for i in range(n)]
    data, bounds = _joined(labels)
    rows = np.sort(rng.integers(0, 4, n)).astype(np.int32)
    ex_labels, ex_bounds = _joined([b't="%d"' % i for i in range(n)])
    return {
        "order": rng.permutation(n).astype(np.int32), "rows": rows, "places": bounds[:-1],
        "sizes": np.diff(bounds).astype(np.int32), "labels": data, "texts": labels,
        "values": rng.choice([0.0, -0.0, 1.0, 1e6, 0.1, np.nan, np.inf, 12345.678, -5e-324], n),
        "times": rng.choice([0, 1, -1, -1001, 1_700_000_000_123], n), "family_of": np.array([0, 0, 1, 2], np.int32),
        "quoted": np.array([False, False, False, True]), "exemplified": np.array([True, False, True, True]),
        "heads": [b"n0", b"n1", b"n2", b'{"n 3"'], "headers": [b"# one\n", b"# two\n", b"# three\n"],
        "ex_places": ex_bounds[:-1],
        "ex_sizes": np.where(np.arange(n) % 2, np.diff(ex_bounds), UNKNOWN).astype(np.int32),
        "ex_labels": ex_labels, "ex_values": rng.random(n), "ex_times": rng.integers(0, 10**13, n),
    }  # fmt: skip


def _time(ms: int, openmetrics: bool) -> str:
    return f"{'-' if ms < 0 else ''}{abs(ms) // 1000}.{abs(ms) % 1000:03d}" if openmetrics else str(ms)


def _plain_page(p: dict[str, Any], *, openmetrics: bool, timed: bool) -> bytes:
    out = []
    family = -1
    for i, one in enumerate(p["order"].tolist()):
        name = int(p["rows"][i])
        if p["family_of"][name] != family:
            family = int(p["family_of"][name])
            out.append(p["headers"][family])
        inner, quoted = p["texts"][i], bool(p["quoted"][name])
        line = p["heads"][name] + ((b"," if quoted else b"{") + inner if inner else b"")
        line += b"} " if inner or quoted else b" "
        value = float(p["values"][one])
        text = format_canonical(value) if openmetrics else format_canonical(value).removesuffix(".0")
        line += text.encode()
        if timed:
            line += f" {_time(int(p['times'][one]), openmetrics)}".encode()
        if openmetrics and p["exemplified"][name] and p["ex_sizes"][one] >= 0:
            at = int(p["ex_places"][one])
            labels = p["ex_labels"][at : at + int(p["ex_sizes"][one])].tobytes()
            told = f"{format_canonical(float(p['ex_values'][one]))} {_time(int(p['ex_times'][one]), True)}"
            line += b" # {" + labels + b"} " + told.encode()
        out.append(line + b"\n")
    return b"".join(out)


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("timed", [False, True])
def test_lines(openmetrics: bool, timed: bool) -> None:
    """Headers, braces, numbers, times and exemplars."""
    for n in (0, 1, 60):
        p = page(n)
        heads, head_bounds = _joined(p["heads"])
        headers, header_bounds = _joined(p["headers"])
        out = np.zeros(page_kernels.LINE * (n + 1) + 4000, np.uint8)
        size = page_kernels.write_lines(
            p["order"], p["rows"], p["places"], p["sizes"], p["labels"], p["values"], p["times"], openmetrics, timed,
            heads, head_bounds, p["quoted"], p["family_of"], headers, header_bounds, p["exemplified"], p["ex_places"],
            p["ex_sizes"], p["ex_labels"], p["ex_values"], p["ex_times"], out,
        )  # fmt: skip
        assert out[:size].tobytes() == _plain_page(p, openmetrics=openmetrics, timed=timed)


def test_messages() -> None:
    """Each type, with and without what is optional; lengths that are written behind the fact are read."""
    pairs = [pair("le", "0.5") + pair("a", "1"), pair("le", "+Inf") + pair("a", "1"), pair("a", "1"), pair("a", "1"),
             pair("a", "2"), pair("z", "z" * 300), pair("a", "3")]  # fmt: skip
    data, bounds = _joined(pairs)
    n = len(pairs)
    ids = np.arange(n, dtype=np.int32)
    headers, header_bounds = _joined([bytes([0x0A, 1, 104, 0x18, 4]), bytes([0x0A, 1, 99, 0x18, 0])])
    ex_labels, ex_bounds = _joined([pair("t", str(i)) for i in range(n)])
    ex_sizes = np.diff(ex_bounds).astype(np.int32)
    ex_sizes[[1, 6]] = UNKNOWN
    out = np.zeros(protobuf_kernels.LINE * (n + 1) + 1000, np.uint8)
    size = protobuf_kernels.write_families(
        ids, np.array([0, 0, 1, 2, 2, 3, 3], np.int32), np.array([5, 5, 5, 5, 6, 7, 8], np.uint64),
        np.array([0.5, np.inf, 0, 0, 0, 0, 0]), bounds[:-1], np.diff(bounds).astype(np.int32),
        np.array([len(pair("le", "0.5")), len(pair("le", "+Inf")), 0, 0, 0, 0, 0], np.int32), data,
        np.array([1.0, 3.0, 4.5, 3.0, 2.5, 9.0, -1.0]), np.array([10, 20, 30, 40, 50, 60, -70]),
        np.array([0, 0, 0, 1500, 0, 0, 2001]), True, np.array([0, 0, 0, 1], np.int32), np.array([0, 1, 2, 0], np.int8),
        np.array([4, 4, 4, 0], np.int8), headers, header_bounds, ex_bounds[:-1], ex_sizes, ex_labels,
        np.arange(n, dtype=np.float64), np.arange(n) * 1001, out,
    )  # fmt: skip
    histogram, counter = _read(out[:size].tobytes())
    first, second = histogram.metric
    assert [(one.name, one.value) for one in first.label] == [("a", "1")]
    assert [(one.cumulative_count, one.upper_bound) for one in first.histogram.bucket] == [(1, 0.5), (3, np.inf)]
    assert (first.histogram.sample_sum, first.histogram.sample_count, first.timestamp_ms) == (4.5, 3, 40)
    assert (first.histogram.created_timestamp.seconds, first.histogram.created_timestamp.nanos) == (1, 500_000_000)
    assert first.histogram.bucket[0].exemplar.label[0].value == "0"
    assert not first.histogram.bucket[1].HasField("exemplar")
    assert (second.histogram.sample_count_float, second.histogram.HasField("created_timestamp")) == (2.5, False)
    one, other = counter.metric
    assert (one.counter.value, one.counter.exemplar.timestamp.seconds, one.label[0].value) == (9.0, 5, "z" * 300)
    assert one.counter.exemplar.timestamp.nanos == 5_000_000
    assert (other.counter.value, other.timestamp_ms, other.counter.HasField("exemplar")) == (-1.0, -70, False)
    assert (other.counter.created_timestamp.seconds, other.counter.created_timestamp.nanos) == (2, 1_000_000)


def _read(data: bytes) -> list[Any]:
    found = []
    while data:
        size = sum((byte & 127) << 7 * k for k, byte in enumerate(data[:5]))
        found.append(MetricFamily.FromString(data[5 : 5 + size]))
        data = data[5 + size :]
    return found


def test_an_arena_is_packed() -> None:
    """Texts that are replaced again and again do not pile up, and the arrays of a page that is written stay."""
    arena = Arena()
    arena.fit(100)
    ids = np.arange(100, dtype=np.int32)
    first = None
    for step in range(60):
        texts = [bytes([65 + step % 26]) * (500 + i) for i in range(100)]
        data, bounds = _joined(texts)
        arena.put(ids, data, bounds[1:])
        if step == 0:
            first = (arena.bytes, arena.places.copy(), arena.sizes.copy())
        assert [written(arena, i) for i in range(100)] == texts
    assert len(arena.bytes) < 8 << 20
    assert first is not None
    held, places, sizes = first
    assert held[places[7] : places[7] + sizes[7]].tobytes() == b"A" * 507
    arena.forget(ids[:50])
    assert (arena.sizes[:50] == UNKNOWN).all()
    assert written(arena, 77) == bytes([65 + 59 % 26]) * 577
