"""The series table, against a dict model and against hostile labels."""

from __future__ import annotations

import random

import numpy as np
import pytest

from headrace.kernels.buffers import padded
from headrace.kernels.siphash_kernels import siphash128
from headrace.pipeline.batch import MetricBatch
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Scope, Series, Temporality
from headrace.pipeline.series import UNKNOWN, Refusal, SeriesLimits, SeriesTable
from headrace.pipeline.wire.spans import LabelSpans


def spans_of(*streams: list[tuple[bytes, bytes]]) -> LabelSpans:
    """Lay labels out as a decoder would."""
    data = bytearray()
    spans, starts = [], [0]
    for labels in streams:
        for name, value in labels:
            spans.append([len(data), len(name), len(data) + len(name), len(value)])
            data += name + value
        starts.append(len(spans))
    return LabelSpans(padded(bytes(data)), np.array(spans, np.int32).reshape(-1, 4), np.array(starts, np.int32))


def raw_keys(table: SeriesTable, *raw: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Hash encoded identities as a decoder would."""
    key = table.domain_key(b"test")
    return np.array([siphash128(padded(r), 0, len(r), *key) for r in raw], np.uint64)


def test_label_order_and_empty_values_do_not_matter() -> None:
    """Two encodings of one label set share an id."""
    ids = SeriesTable().intern_spans(
        spans_of(
            [(b"__name__", b"up"), (b"job", b"a"), (b"zone", b"")],
            [(b"job", b"a"), (b"__name__", b"up")],
            [(b"job", b"b"), (b"__name__", b"up")],
        )
    )
    assert ids.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("labels", "refusal"),
    [
        pytest.param([(b"job", b"a")], Refusal.NO_NAME, id="no-name"),
        pytest.param([(b"__name__", b"")], Refusal.NO_NAME, id="empty-name"),
        pytest.param([], Refusal.NO_NAME, id="nothing"),
        pytest.param([(b"__name__", b"a"), (b"b", b"1"), (b"b", b"2")], Refusal.DUPLICATE_LABEL, id="duplicate"),
        pytest.param([(b"__name__", b"\xff")], Refusal.INVALID_UTF8, id="bad-utf8"),
        pytest.param([(b"__name__", b"a"), (b"b", b"\xed\xa0\x80")], Refusal.INVALID_UTF8, id="surrogate"),
        pytest.param([(b"__name__", b"a"), (b"b", b"\xe2\x82")], Refusal.INVALID_UTF8, id="cut-utf8"),
        pytest.param([(b"__name__", b"a"), (b"", b"x")], Refusal.EMPTY_LABEL_NAME, id="empty-label-name"),
        pytest.param([(b"__name__", b"a"), (b"b", b"x" * 65)], Refusal.LABEL_TOO_LONG, id="long-value"),
        pytest.param([(b"__name__", b"a"), (b"c" * 33, b"x")], Refusal.LABEL_TOO_LONG, id="long-name"),
        pytest.param(
            [(b"__name__", b"a"), *((b"l%d" % i, b"x") for i in range(9))], Refusal.TOO_MANY_LABELS, id="many"
        ),
    ],
)
def test_bad_labels_are_refused_by_name(labels: list[tuple[bytes, bytes]], refusal: Refusal) -> None:
    """A stream that breaks a rule gets the refusal of that rule, and its neighbours get ids."""
    table = SeriesTable(SeriesLimits(max_labels=8, max_name_bytes=32, max_value_bytes=64))
    good = [(b"__name__", b"good")]
    ids = table.intern_spans(spans_of(good, labels, good))
    assert ids.tolist() == [0, refusal.id, 0]
    assert Refusal.of(int(ids[1])) is refusal
    assert refusal.text
    assert len(table) == 1


@pytest.mark.parametrize("text", ["", "a", "ä€𐍈", "x" * 7 + "é", "\x00\n\\", "𐍈" * 40])
def test_utf8_survives(text: str) -> None:
    """Any valid text comes back as it went in."""
    table = SeriesTable()
    series = Series.of(__name__="m", label=text)
    assert table.series(int(table.intern([series])[0])) == series


def test_otlp_identity_round_trip() -> None:
    """Kind, unit, resource, scope and attribute types are part of the identity."""
    plain = Series.of(__name__="m", port="80")
    otlp = Series(
        plain.labels,
        Form.OTLP,
        Kind(MetricType.COUNTER, Temporality.CUMULATIVE),
        "By",
        Resource((("host", "a"), ("tags", ["x", {"y": 1}])), "http://schema"),
        Scope("lib", "1", (("a", 1.5),)),
        (("port", "int"),),
    )
    other = Series(plain.labels, Form.OTLP, Kind(MetricType.GAUGE, is_sum=True), resource=Resource((("host", "b"),)))
    table = SeriesTable()
    ids = table.intern([plain, otlp, other, otlp])
    assert ids.tolist() == [0, 1, 2, 1]
    assert [table.series(i) for i in (0, 1, 2)] == [plain, otlp, other]


def test_limit_is_checked_before_anything_is_stored() -> None:
    """Over the limit, known series go on and new ones are refused; room that is freed is used again."""
    now = 0.0
    table = SeriesTable(SeriesLimits(max_series=2), lambda: now)
    keys = raw_keys(table, b"a", b"b", b"c")
    labels = [[(b"__name__", name)] for name in (b"a", b"b", b"c")]
    assert table.learn(keys, spans_of(*labels)).tolist() == [0, 1, Refusal.LIMIT.id]
    assert table.lookup(keys).tolist() == [0, 1, Refusal.LIMIT.id]
    now = 100.0
    assert table.lookup(keys[:1]).tolist() == [0]
    assert table.collect(50) == 1
    assert table.lookup(keys).tolist() == [0, UNKNOWN, UNKNOWN]
    assert table.learn(keys[2:], spans_of(labels[2])).tolist() >= [0]


def test_series_of_a_freed_id_is_a_bug() -> None:
    """Asking for a series that is gone fails loudly instead of answering with another one."""
    now = 0.0
    table = SeriesTable(clock_s=lambda: now)
    table.intern([Series.of(__name__="a")])
    now = 10.0
    table.collect(1)
    with pytest.raises(AssertionError, match=r"bug: series 0"):
        table.series(0)


class Memo:
    """A holder that remembers which name each id had."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}

    def forget(self, ids: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
        for i in ids.tolist():
            self.names.pop(i, None)


@pytest.mark.parametrize("seed", range(6))
def test_reuse_of_ids_against_a_model(seed: int) -> None:
    """Whatever is collected and created meanwhile, ids in live batches and in memos never change their meaning."""
    chance = random.Random(seed)
    now = 0.0
    table = SeriesTable(SeriesLimits(max_series=60), lambda: now)
    memo = Memo()
    table.register(memo)
    flying: list[tuple[MetricBatch, list[str]]] = []
    reused = 0
    largest = 0
    for _ in range(150):
        now += chance.random() * 5
        names = [f"m{chance.randrange(400)}" for _ in range(chance.randrange(1, 12))]
        keys = raw_keys(table, *(n.encode() for n in names))
        ids = table.lookup(keys)
        unknown = np.flatnonzero(ids == UNKNOWN)
        if len(unknown):
            ids[unknown] = table.learn(
                keys[unknown], spans_of(*([(b"__name__", names[i].encode()), (b"l", b"v")] for i in unknown))
            )
        kept = [(int(i), n) for i, n in zip(ids, names, strict=True) if i >= 0]
        for i, n in kept:
            assert memo.names.setdefault(i, n) == n, "a memo leads to another series"
            reused += i < largest
            largest = max(largest, i)
        column = np.array([i for i, _ in kept], np.int32)
        zeros = np.zeros(len(kept))
        flying.append((MetricBatch.of(table, column, zeros.astype(np.int64), zeros), [n for _, n in kept]))
        if chance.random() < 0.5:
            flying.pop(chance.randrange(len(flying)))
        if chance.random() < 0.4:
            table.collect(chance.random() * 20)
        for batch, expected in flying:
            for i, name in zip(batch.series.tolist(), expected, strict=True):
                if table.is_live(np.array([i], np.int32))[0]:
                    assert table.series(i).name == name, "an id in flight was given to another series"
    assert reused > 50, "the history has to reuse ids to mean anything"
    flying.clear()
    del batch
    now += 1000
    table.collect(1)
    table.collect(1)
    assert len(table) == 0
    assert table.epochs.waiting == 0


@pytest.mark.large
def test_memory_is_given_back_after_churn() -> None:
    """Symbols and pairs of series that are gone do not pile up."""
    now = 0.0
    table = SeriesTable(clock_s=lambda: now)
    for generation in range(30):
        now += 100
        table.intern([Series.of(__name__="m", pod=f"pod-{generation}-{i}") for i in range(200)])
        table.collect(50)
    assert len(table) == 200
    assert len(table._symbols) < 1500
    assert table.capacity <= 600
    assert table.series(int(table.intern([Series.of(__name__="m", pod="pod-29-7")])[0]))["pod"] == "pod-29-7"
    assert len(table) == 200
