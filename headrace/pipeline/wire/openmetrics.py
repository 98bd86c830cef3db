"""Check a page against all of OpenMetrics 1.0.

Prometheus takes pages that the specification forbids, and so does `headrace.pipeline.wire.text`: a scrape must not fail
for a repeated HELP. This check is for those who write exporters. It looks at every sample in Python.

Source:
    OpenMetrics 1.0, sections "Metric Types" and "Text Format".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import METRIC_NAME, MetricType
from headrace.pipeline.wire import text_meta_kernels, text_number_kernels
from headrace.pipeline.wire.text import read_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.wire.spans import LabelSpans
    from headrace.pipeline.wire.text import Page

_SUFFIXES = {
    MetricType.UNKNOWN: ("",),
    MetricType.COUNTER: ("_total", "_created"),
    MetricType.GAUGE: ("",),
    MetricType.HISTOGRAM: ("_bucket", "_count", "_sum", "_created"),
    MetricType.GAUGE_HISTOGRAM: ("_bucket", "_gcount", "_gsum"),
    MetricType.SUMMARY: ("", "_count", "_sum", "_created"),
    MetricType.INFO: ("_info",),
    MetricType.STATESET: ("",),
}
_HISTOGRAMS = (MetricType.HISTOGRAM, MetricType.GAUGE_HISTOGRAM)
_LABELS_ASIDE = {MetricType.HISTOGRAM: "le", MetricType.GAUGE_HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}
_NO_UNIT = (MetricType.INFO, MetricType.STATESET)
_WITH_EXEMPLARS = {(MetricType.COUNTER, "_total"), *((kind, "_bucket") for kind in _HISTOGRAMS)}
_COUNTING = {
    (MetricType.COUNTER, "_total"), (MetricType.HISTOGRAM, "_sum"), (MetricType.SUMMARY, "_sum"),
    *((kind, suffix) for kind in MetricType for suffix in ("_bucket", "_count", "_gcount")),
}  # fmt: skip
"""Values that only grow from 0, or count something."""

_MAX_EXEMPLAR_CHARACTERS = 128
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_KIND_NAMES = {text_meta_kernels.HELP: "HELP", text_meta_kernels.TYPE: "TYPE", text_meta_kernels.UNIT: "UNIT"}


class _Sample(NamedTuple):
    """One sample, and where it stands."""

    pos: int
    name: str
    labels: dict[str, str]
    value: float
    time: Decimal | None
    exemplar: dict[str, str] | None


class _Meta(NamedTuple):
    """One metadata line, and where it stands."""

    pos: int
    kind: int
    family: str
    text: str
    type: MetricType


@dataclass(slots=True)
class _Metric:
    """The samples of one family with the same labels, ``le``, ``quantile`` and the state aside.

    Attributes:
        labels: Those labels.
        times: Times of each series in it, the newest.
        buckets: Bounds and counts at one time.
        count: Of a histogram.
        sum: Of a histogram.
    """

    labels: frozenset[tuple[str, str]]
    times: dict[tuple[str, frozenset[tuple[str, str]]], Decimal | None] = field(default_factory=dict)
    time: Decimal | None = None
    buckets: list[tuple[float, float]] = field(default_factory=list)
    count: float | None = None
    sum: float | None = None

    def note(self, suffix: str, sample: _Sample) -> None:
        """Remember what a histogram is checked by."""
        if suffix == "_bucket":
            self.buckets.append((float(sample.labels["le"]), sample.value))
        elif suffix in {"_count", "_gcount"}:
            self.count = sample.value
        elif suffix in {"_sum", "_gsum"}:
            self.sum = sample.value


@dataclass(slots=True)
class _Family:
    """A metric family while its lines go by."""

    name: str
    type: MetricType = MetricType.UNKNOWN
    unit: str = ""
    said: set[int] = field(default_factory=set)
    metric: _Metric | None = None
    done: set[frozenset[tuple[str, str]]] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        """Names of samples that belong to it, and its own."""
        return {self.name, *(self.name + suffix for suffix in _SUFFIXES[self.type])}


def validate(data: bytes) -> None:
    """Check a page.

    Raises:
        InvalidInput: It breaks a rule; the first such line is named.
    """
    page = read_page(data, openmetrics=True)
    page.metadata()
    _Check(page).run()


class _Check:
    """Goes through a page line by line."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._family: _Family | None = None
        self._taken: set[str] = set()

    def run(self) -> None:
        """Raise `InvalidInput` at the first line that breaks a rule."""
        for line in _lines(self._page):
            try:
                if isinstance(line, _Meta):
                    self._meta(line)
                else:
                    self._sample(line)
            except ValueError as error:
                raise self._page.fault(line.pos, str(error)) from None
        try:
            self._end()
        except ValueError as error:
            raise InvalidInput(f"at the end: {error}") from None

    def _meta(self, line: _Meta) -> None:
        family = self._family
        if family is None or family.name != line.family:
            family = self._begin(line.family)
        if family.metric is not None or family.done:
            raise ValueError("metadata stands after samples of its family")
        if line.kind in family.said:
            raise ValueError(f"{_KIND_NAMES[line.kind]} is repeated")
        family.said.add(line.kind)
        if line.kind == text_meta_kernels.TYPE:
            family.type = line.type
        elif line.kind == text_meta_kernels.UNIT:
            family.unit = line.text
        if family.unit and family.type in _NO_UNIT:
            raise ValueError(f"a metric of type {family.type.text} has no unit")

    def _sample(self, sample: _Sample) -> None:
        family = self._family
        suffix = _suffix(family, sample.name) if family is not None else None
        if family is None or suffix is None:
            family, suffix = self._begin(sample.name), ""
        _check_value(family, suffix, sample)
        _check_labels(family, suffix, sample)
        if sample.exemplar is not None:
            _check_exemplar(family, suffix, sample.exemplar)
        self._group(family, suffix, sample)

    def _begin(self, name: str) -> _Family:
        """End the family so far, and begin another."""
        self._end()
        if name in self._taken:
            raise ValueError(f"the name {name} clashes with a family before")
        self._family = _Family(name)
        return self._family

    def _end(self) -> None:
        family = self._family
        if family is None:
            return
        _end_metric(family)
        clash = sorted(family.names & self._taken)
        if clash:
            raise ValueError(f"the name {clash[0]} clashes with a family before")
        self._taken |= family.names

    @staticmethod
    def _group(family: _Family, suffix: str, sample: _Sample) -> None:
        """Check that samples of one metric stand together and go forward in time."""
        aside = _LABELS_ASIDE.get(family.type, family.name if family.type is MetricType.STATESET else "")
        labels = frozenset((name, value) for name, value in sample.labels.items() if name != aside)
        metric = family.metric
        if metric is None or metric.labels != labels:
            _end_metric(family)
            if labels in family.done:
                raise ValueError("the samples of a metric do not stand together")
            metric = family.metric = _Metric(labels, time=sample.time)
        if (metric.time is None) is not (sample.time is None):
            raise ValueError("some samples of a metric have timestamps, others have none")
        if metric.time != sample.time:
            if metric.time is not None and sample.time is not None and sample.time < metric.time:
                raise ValueError("timestamps go backwards")
            _check_histogram(family, metric)
            metric.buckets, metric.count, metric.sum, metric.time = [], None, None, sample.time
        series = (sample.name, frozenset(sample.labels.items()))
        if series in metric.times and metric.times[series] == sample.time:
            raise ValueError("a sample is repeated")
        metric.times[series] = sample.time
        metric.note(suffix, sample)


def _lines(page: Page) -> Iterator[_Meta | _Sample]:
    """Yield metadata and samples in their order."""
    lines: list[_Meta | _Sample] = [*_metadata(page), *_samples(page)]
    yield from sorted(lines, key=lambda line: line.pos)


def _metadata(page: Page) -> Iterator[_Meta]:
    for kind, name, name_size, text, text_size, type_ in page.meta.tolist():
        family = page.buf[name : name + name_size].tobytes().decode()
        if not _NAME.fullmatch(family):
            raise page.fault(name, "the metric name is not valid")
        yield _Meta(name, kind, family, page.buf[text : text + text_size].tobytes().decode(), MetricType(type_))


def _samples(page: Page) -> Iterator[_Sample]:
    labels = page.labels(np.arange(len(page)), as_written=True)
    exemplar_labels = page.exemplar_labels()
    exemplars = {row: i for i, row in enumerate(page.exemplars[:, 0].tolist())}
    tokens = np.zeros((2, 2), np.int32)
    for row, (pos, size) in enumerate(page.keys.tolist()):
        if page.buf[pos : pos + size].tobytes().endswith(b",}"):
            raise page.fault(pos, "a comma stands before the closing brace")
        time = None
        if page.flags[row] & text_number_kernels.TIMED:
            text_number_kernels.parse_numbers_again(page.buf, pos + size, page.size, tokens)
            first, count = tokens[1].tolist()
            time = Decimal(page.buf[first : first + count].tobytes().decode())
        found = _labels(page, pos, labels, row)
        name = found.pop(METRIC_NAME)
        if not _NAME.fullmatch(name) or page.buf[pos] == ord("{"):
            raise page.fault(pos, "the metric name is not valid")
        exemplar = None if row not in exemplars else _labels(page, pos, exemplar_labels, exemplars[row])
        yield _Sample(pos, name, found, float(page.values[row]), time, exemplar)


def _labels(page: Page, pos: int, labels: LabelSpans, row: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, name_size, value, value_size in labels.spans[labels.starts[row] : labels.starts[row + 1]].tolist():
        label = labels.buf[name : name + name_size].tobytes().decode()
        if label in found:
            raise page.fault(pos, f"the label {label} is repeated")
        if not _NAME.fullmatch(label):
            raise page.fault(pos, f"the label name {label!r} is not valid")
        found[label] = labels.buf[value : value + value_size].tobytes().decode()
    return found


def _suffix(family: _Family, name: str) -> str | None:
    """Return what follows the family's name in a sample's, or None where the sample is of another family."""
    for suffix in _SUFFIXES[family.type]:
        if name == family.name + suffix:
            return suffix
    return None


def _check_value(family: _Family, suffix: str, sample: _Sample) -> None:
    value = sample.value
    if (family.type, suffix) in _COUNTING and (math.isnan(value) or value < 0):
        raise ValueError(f"{sample.name} must be neither negative nor NaN")
    if suffix == "_gsum" and math.isnan(value):
        raise ValueError(f"{sample.name} must not be NaN")
    if family.type is MetricType.INFO and value != 1:
        raise ValueError("the value of an info metric is 1")
    if family.type is MetricType.STATESET and value not in {0.0, 1.0}:
        raise ValueError("the value of a state is 0 or 1")
    if family.type is MetricType.SUMMARY and not suffix and value < 0:
        raise ValueError("a quantile must not be negative")


def _check_labels(family: _Family, suffix: str, sample: _Sample) -> None:
    if suffix == "_bucket":
        bound = _bound(sample.labels.get("le", ""))
        if bound is None:
            raise ValueError('a bucket needs a label le with a number, or "+Inf"')
    if family.type is MetricType.SUMMARY and not suffix:
        quantile = _bound(sample.labels.get("quantile", ""))
        if quantile is None or not 0 <= quantile <= 1:
            raise ValueError("a quantile needs a label quantile between 0 and 1")
    if family.type is MetricType.STATESET and family.name not in sample.labels:
        raise ValueError(f"a state needs the label {family.name}")


def _bound(text: str) -> float | None:
    """Return the number in a label, None where it is none."""
    if text == "+Inf":
        return math.inf
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) else None


def _check_exemplar(family: _Family, suffix: str, labels: dict[str, str]) -> None:
    if (family.type, suffix) not in _WITH_EXEMPLARS:
        raise ValueError("only counters and buckets have exemplars")
    size = sum(len(name) + len(value) for name, value in labels.items())
    if size > _MAX_EXEMPLAR_CHARACTERS:
        raise ValueError(f"the labels of an exemplar have {size} characters, more than {_MAX_EXEMPLAR_CHARACTERS}")


def _end_metric(family: _Family) -> None:
    if family.metric is not None:
        _check_histogram(family, family.metric)
        family.done.add(family.metric.labels)
        family.metric = None


def _check_histogram(family: _Family, metric: _Metric) -> None:
    """Check what the samples of a histogram at one time have to be to each other."""
    if family.type not in _HISTOGRAMS:
        return
    bounds = [bound for bound, _ in metric.buckets]
    counts = [count for _, count in metric.buckets]
    if not bounds or bounds[-1] != math.inf:
        raise ValueError(f"the last bucket of {family.name} is not +Inf")
    if any(a >= b for a, b in pairwise(bounds)):
        raise ValueError(f"the buckets of {family.name} are not in order")
    if any(a > b for a, b in pairwise(counts)):
        raise ValueError(f"the buckets of {family.name} are not cumulative")
    if metric.count is not None and metric.count != counts[-1]:
        raise ValueError(f"the count of {family.name} is not that of the bucket +Inf")
    negative = bounds[0] < 0
    gauge = family.type is MetricType.GAUGE_HISTOGRAM
    if negative and not gauge and metric.sum is not None:
        raise ValueError(f"{family.name} has a sum although a bucket is negative")
    if (metric.sum is None) is not (metric.count is None) and not (negative and not gauge):
        raise ValueError(f"{family.name} has one of sum and count")
    if gauge and not negative and metric.sum is not None and metric.sum < 0:
        raise ValueError(f"the sum of {family.name} is negative although no bucket is")
