"""Run PromQL test scripts, in the language of Prometheus' own: load series, evaluate, compare.

What a script says about native histograms is left out and reported as skipped.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.config.durations import parse_duration
from headrace.pipeline.errors import HeadraceError
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions
from headrace.store.promql.parser import parse_selector
from headrace.store.promql.values import Ranges, Scalar, Text, Vector
from headrace.testing.store_fakes import MemoryQueryable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.store.promql.evaluate import Result

STALE = float(np.uint64(0x7FF0000000000002).view(np.float64))

_REPEAT = re.compile(r"^(?P<first>.+?)(?:(?P<sign>[+-])(?P<delta>[^+-]+|[^+-]*[eE][+-]?\d+))?x(?P<count>\d+)$")
_HEX = re.compile(r"^[+-]?0[xX](?!\d+$)")  # 0x59 means 60 zeros

Rows = dict[tuple[tuple[str, str], ...], list[float | None]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one evaluation.

    Attributes:
        line: Where it stands in the script, from 1.
        query: Expression.
        outcome: ``passed``, ``failed`` or ``skipped``.
        why: Reason, unless it passed.
    """

    line: int
    query: str
    outcome: str
    why: str = ""


@dataclass(slots=True)
class _Block:
    """One command with the lines below it."""

    line: int
    head: str
    body: list[str] = field(default_factory=list)


class ScriptError(AssertionError):
    """The script itself is wrong."""


def run_script(text: str, options: EvaluatorOptions | None = None) -> Iterator[Verdict]:
    """Yield a verdict for each ``eval`` of a script."""
    runner = _Runner(options or EvaluatorOptions())
    for block in _blocks(text):
        word = block.head.split(maxsplit=1)[0].lower()
        if word == "clear":
            runner.clear()
        elif word.startswith("load"):
            runner.load(block, nhcb=word == "load_with_nhcb")
        elif word.startswith("eval"):
            yield runner.evaluate(block, word)
        else:
            raise ScriptError(f"line {block.line}: unknown command {word!r}")


def _blocks(text: str) -> Iterator[_Block]:
    block: _Block | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line.startswith("#"):
            line = ""
        if not line:
            if block is not None:
                yield block
            block = None
        elif line == "clear":
            if block is not None:
                yield block
            yield _Block(number, line)
            block = None
        elif block is None:
            block = _Block(number, line)
        else:
            block.body.append(line)
    if block is not None:
        yield block


def _ms(text: str) -> int:
    return 0 if text == "0" else round(parse_duration(text).total_seconds() * 1000)


def number(text: str) -> float:
    """Read a number as the scripts write it."""
    if _HEX.match(text):
        return float(int(text, 16))
    return float(text)


def values(text: str) -> list[float | None]:
    """Expand the notation of series values; None for a gap.

    >>> values("1+2x2 _ 5x1")
    [1.0, 3.0, 5.0, None, 5.0, 5.0]
    """
    out: list[float | None] = []
    for item in text.split():
        if item == "_":
            out.append(None)
        elif item.startswith("_x"):
            out += [None] * int(item[2:])
        elif item == "stale":
            out.append(STALE)
        elif (match := None if _HEX.match(item) else _REPEAT.match(item)) is not None:
            value = number(match["first"])
            delta = number(match["delta"]) if match["delta"] else 0.0
            for _ in range(int(match["count"]) + 1):
                out.append(value)
                value = value + delta if match["sign"] != "-" else value - delta
        else:
            out.append(number(item))
    return out


def _split_series(line: str) -> tuple[str, str]:
    """Split a series from what follows it; braces and quotes may hold blanks."""
    depth, quote, i = 0, "", 0
    while i < len(line):
        c = line[i]
        if quote:
            if c == "\\" and quote != "`":
                i += 1
            elif c == quote:
                quote = ""
        elif c in "\"'`":
            quote = c
        elif c == "{":
            depth += 1
        elif c == "}":
            depth -= 1
        elif c.isspace() and depth == 0:
            return line[:i], line[i:].strip()
        i += 1
    return line, ""


def _labels(series: str) -> dict[str, str]:
    if series == "{}":
        return {}
    return {m.name: m.value for m in parse_selector(series) if m.value}


class _Runner:
    def __init__(self, options: EvaluatorOptions) -> None:
        self._options = options
        self._histograms: set[str] = set()
        self._store = MemoryQueryable()

    def clear(self) -> None:
        self._store = MemoryQueryable()
        self._histograms = set()

    def load(self, block: _Block, *, nhcb: bool) -> None:
        step = _ms(block.head.split()[1])
        for line in block.body:
            series, items = _split_series(line)
            if series.endswith("@st"):
                continue
            labels = _labels(series)
            name = labels.get("__name__", "")
            if "{{" in items:
                self._histograms.add(name)
                continue
            if nhcb:
                self._histograms.add(re.sub(r"_(bucket|count|sum)$", "", name))
            found = [(i * step, v) for i, v in enumerate(values(items)) if v is not None]
            self._store.add(labels, [t for t, _ in found], [v for _, v in found])

    def evaluate(self, block: _Block, word: str) -> Verdict:
        try:
            case = _Case(block, word)
        except (ValueError, HeadraceError) as error:
            return Verdict(block.line, block.head, "skipped", f"not understood: {error}")
        touched = any(name and re.search(rf"\b{re.escape(name)}\b", case.query) for name in self._histograms)
        if touched or case.histograms:
            return Verdict(block.line, case.query, "skipped", "native histograms")
        try:
            why = case.run(Evaluator(self._store, self._options))
        except Exception as error:  # noqa: BLE001 -- a bug of ours is a verdict here
            why = f"{type(error).__name__}: {error}"
        return Verdict(block.line, case.query, "failed" if why else "passed", why)


_INSTANT = re.compile(r"^\S+\s+instant\s+at\s+(\S+)\s+(.*)$", re.DOTALL)
_RANGE = re.compile(r"^\S+\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.*)$", re.DOTALL)
_VECTOR = re.compile(r"^range vector from (\S+) to (\S+) step (\S+)$")


class _Case:
    """One ``eval`` with what it expects."""

    def __init__(self, block: _Block, word: str) -> None:
        self.fails = word == "eval_fail"
        self.ordered = word == "eval_ordered"
        self.messages: list[tuple[str, str]] = []
        self.expected: Rows = {}
        self.scalar: float | None = None
        self.text: str | None = None
        self.histograms = False
        self.times: tuple[int, int, int] | None = None
        instant = _INSTANT.match(block.head)
        if instant:
            self.start = self.end = _ms(instant[1])
            self.step = 0
            self.query = instant[2]
        else:
            ranged = _RANGE.match(block.head)
            if not ranged:
                raise ValueError(block.head)
            self.start, self.end, self.step = _ms(ranged[1]), _ms(ranged[2]), _ms(ranged[3])
            self.query = ranged[4]
        for line in block.body:
            self._line(line)

    def _line(self, line: str) -> None:
        if line.startswith("expect "):
            self._expect(line.removeprefix("expect ").strip())
        elif line.startswith("expected_fail"):
            kind, text = line.split(maxsplit=1)
            self.messages.append(("regex" if kind.endswith("regexp") else "msg", text))
        elif "{{" in line:
            self.histograms = True
        else:
            series, items = _split_series(line)
            if items:
                self.expected[tuple(sorted(_labels(series).items()))] = values(items)
            else:
                self.scalar = number(series)

    def _expect(self, what: str) -> None:
        word, _, rest = what.partition(" ")
        if word == "fail":
            self.fails = True
            if rest:
                kind, _, text = rest.strip().partition(":")
                self.messages.append((kind, text.strip()))
        elif word == "ordered":
            self.ordered = True
        elif word == "string":
            self.text = rest.strip()[1:-1]
        elif match := _VECTOR.match(what):
            self.times = (_ms(match[1]), _ms(match[2]), _ms(match[3]))

    def run(self, evaluator: Evaluator) -> str:
        """Return what is wrong; nothing where all is as expected."""
        try:
            result = (
                evaluator.range(self.query, self.start, self.end, self.step)
                if self.step
                else evaluator.instant(self.query, self.start)
            )
        except HeadraceError as error:
            return self._failure(str(error))
        if self.fails:
            return "did not fail"
        return self._compare(result)

    def _failure(self, text: str) -> str:
        if not self.fails:
            return f"failed: {text}"
        for kind, wanted in self.messages:
            if kind == "msg" and wanted != text:
                return f"failed with {text!r} instead of {wanted!r}"
            if kind == "regex" and not re.search(wanted, text):
                return f"failed with {text!r}, not like {wanted!r}"
        return ""

    def _compare(self, result: Result) -> str:
        value = result.value
        if isinstance(value, Text):
            return "" if value.value == (self.text or "") else f"got {value.value!r}"
        if isinstance(value, Scalar):
            got = float(value.values[0])
            wanted = math.nan if self.scalar is None else self.scalar
            return "" if close(got, wanted) else f"got {got}, not {wanted}"
        found = _rows_of_ranges(value, self.times) if isinstance(value, Ranges) else _rows(value)
        if set(found) != set(self.expected):
            return f"got {_told(found)}, not {_told(self.expected)}"
        for key, wanted_row in self.expected.items():
            row = found[key]
            padded = wanted_row + [None] * (len(row) - len(wanted_row))
            if len(padded) != len(row) or not all(close(a, b) for a, b in zip(row, padded, strict=True)):
                return f"{dict(key)}: got {row}, not {wanted_row}"
        if self.ordered and list(found) != list(self.expected):
            return f"order: got {_told(found)}, not {_told(self.expected)}"
        return ""


def _told(rows: Rows) -> str:
    return "; ".join(f"{dict(key)} {row}" for key, row in rows.items())[:600] or "nothing"


def _rows(vector: Vector) -> Rows:
    rows: Rows = {}
    for row in range(len(vector)):
        there = vector.present[row].tolist()
        found = [v if p else None for v, p in zip(vector.values[row].tolist(), there, strict=True)]
        rows[tuple(vector.labels.labels(row).items())] = found
    return rows


def _rows_of_ranges(ranges: Ranges, times: tuple[int, int, int] | None) -> Rows:
    start, end, step = times or (0, 0, 1)
    rows: Rows = {}
    first = ranges.ends.start_ms - ranges.range_ms
    for row in range(len(ranges.labels)):
        a, b = int(ranges.offsets[row]), int(ranges.offsets[row + 1])
        pairs = zip(ranges.times_ms[a:b].tolist(), ranges.values[a:b].tolist(), strict=True)
        found = {t: v for t, v in pairs if first < t <= ranges.ends.start_ms}
        if found:
            rows[tuple(ranges.labels.labels(row).items())] = [found.get(t) for t in range(start, end + 1, step)]
    return rows


def close(got: float | None, wanted: float | None) -> bool:
    """Compare as the scripts ask: both absent, both NaN, or equal to a relative 1e-6."""
    if got is None or wanted is None:
        return got is wanted
    if got == wanted or (math.isnan(got) and math.isnan(wanted)):
        return True
    total = min(abs(got) + abs(wanted), 1.7976931348623157e308)
    if got == 0 or wanted == 0 or total < 2.2250738585072014e-308:
        return abs(got - wanted) < 1e-6 * 2.2250738585072014e-308
    return abs(got - wanted) / total < 1e-6
