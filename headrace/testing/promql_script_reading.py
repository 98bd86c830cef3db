"""Read PromQL test scripts into commands; nothing is evaluated here.

Whatever is not understood is an error: a line that was passed over would be a case that is not tested.

Source:
    Prometheus, PromQL test language.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.pipeline.errors import HeadraceError
from headrace.store.promql.language.parser import parse_selector
from headrace.testing.promql_script_values import Item, duration_ms, number, starts, values

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = tuple[tuple[str, str], ...]
"""A label set, sorted by name."""

Rows = dict[Key, list[Item]]

_INSTANT = re.compile(r"^\S+\s+instant\s+at\s+(\S+)\s+(.*)$", re.DOTALL)
_RANGE = re.compile(r"^\S+\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.*)$", re.DOTALL)
_VECTOR = re.compile(r"^range vector from (\S+) to (\S+) step (\S+)$")
_OLD_FORMS = {"eval_fail", "eval_warn", "eval_info", "eval_ordered"}


class ScriptError(AssertionError):
    """The script itself is wrong."""


@dataclass(frozen=True, slots=True)
class LoadedSeries:
    """Samples of one series.

    Attributes:
        labels: Its label set.
        items: Values, one a step.
        starts: Start timestamps relative to the samples, as many, or none at all.
    """

    labels: dict[str, str]
    items: list[Item]
    starts: list[int | None]


@dataclass(frozen=True, slots=True)
class Load:
    """``load``: samples at 0, `step_ms`, …; `nhcb` asks for histograms with custom buckets beside classic ones."""

    line: int
    step_ms: int
    nhcb: bool
    series: list[LoadedSeries]


@dataclass(frozen=True, slots=True)
class Clear:
    """``clear``: begin with an empty store."""

    line: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text to find in an error or annotation; everything fits where neither is given."""

    text: str | None = None
    pattern: str | None = None

    def fits(self, found: str) -> bool:
        """Return whether `found` is as wanted."""
        if self.pattern is not None:
            return re.search(self.pattern, found) is not None
        return self.text is None or self.text == found


@dataclass(slots=True)
class Case:
    """``eval``: an expression with what is expected of it.

    Attributes:
        step_ms: 0 for an instant query.
        fails: What the error must be; None where there must be none.
        warnings: What annotations must be there, and there alone; None where that is not checked.
        infos: Likewise.
        times_ms: Start, end and step of an expected range vector.
    """

    line: int
    query: str
    start_ms: int
    end_ms: int
    step_ms: int
    fails: Wanted | None = None
    warnings: list[Wanted] | None = None
    infos: list[Wanted] | None = None
    ordered: bool = False
    text: str | None = None
    scalar: float | None = None
    rows: Rows = field(default_factory=dict)
    times_ms: tuple[int, int, int] | None = None


Command = Load | Clear | Case


@dataclass(slots=True)
class _Block:
    """One command with the lines below it."""

    line: int
    head: str
    body: list[tuple[int, str]] = field(default_factory=list)


def read_script(text: str) -> Iterator[Command]:
    """Yield the commands of a script.

    Raises:
        ScriptError: A line is not understood.
    """
    for block in _blocks(text):
        word = block.head.split(maxsplit=1)[0].lower()
        if word == "clear":
            yield Clear(block.line)
        elif word in {"load", "load_with_nhcb"}:
            yield _load(block, nhcb=word == "load_with_nhcb")
        elif word == "eval" or word in _OLD_FORMS:
            yield _case(block, word)
        else:
            raise ScriptError(f"line {block.line}: unknown command {word!r}")


def _blocks(text: str) -> Iterator[_Block]:
    block: _Block | None = None
    for line_number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line.startswith("#"):
            line = ""
        if block is not None and line not in {"", "clear"}:
            block.body.append((line_number, line))
            continue
        if block is not None:
            yield block
        block = _Block(line_number, line) if line else None
        if block is not None and line == "clear":
            yield block
            block = None
    if block is not None:
        yield block


# -- load ------------------------------------------------------------------------------------------------------


def _load(block: _Block, *, nhcb: bool) -> Load:
    try:
        _, step = block.head.split()
        step_ms = duration_ms(step)
    except ValueError as error:
        raise ScriptError(f"line {block.line}: {error}") from error
    series: list[LoadedSeries] = []
    offsets: tuple[str, list[int | None]] | None = None
    for line_number, line in block.body:
        try:
            name, items = _split_series(line)
            if name.endswith("@st"):
                offsets = (name.removesuffix("@st"), starts(items))
                continue
            series.append(_loaded(name, items, offsets))
        except (ValueError, HeadraceError) as error:
            raise ScriptError(f"line {line_number}: {error}") from error
        offsets = None
    if offsets is not None:
        raise ScriptError(f"line {block.line}: start timestamps of {offsets[0]} without samples")
    return Load(block.line, step_ms, nhcb, series)


def _loaded(name: str, items: str, offsets: tuple[str, list[int | None]] | None) -> LoadedSeries:
    labels, found = _labels(name), values(items)
    if offsets is None:
        return LoadedSeries(labels, found, [])
    if _labels(offsets[0]) != labels or len(offsets[1]) != len(found):
        raise ValueError(f"start timestamps of {offsets[0]} do not belong to {name}")
    return LoadedSeries(labels, found, offsets[1])


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
        elif c in "{}":
            depth += 1 if c == "{" else -1
        elif c.isspace() and depth == 0:
            return line[:i], line[i:].strip()
        i += 1
    return line, ""


def _labels(series: str) -> dict[str, str]:
    if series == "{}":
        return {}
    return {m.name: m.value for m in parse_selector(series) if m.value}


# -- eval ------------------------------------------------------------------------------------------------------


def _case(block: _Block, word: str) -> Case:
    case = _head(block)
    case.ordered = word == "eval_ordered"
    case.fails = Wanted() if word == "eval_fail" else None
    case.warnings = [Wanted()] if word == "eval_warn" else None
    case.infos = [Wanted()] if word == "eval_info" else None
    for line_number, line in block.body:
        try:
            _result_line(case, line)
        except (ValueError, HeadraceError) as error:
            raise ScriptError(f"line {line_number}: {error}") from error
    return case


def _head(block: _Block) -> Case:
    if instant := _INSTANT.match(block.head):
        time_ms = duration_ms(instant[1])
        return Case(block.line, instant[2], time_ms, time_ms, 0)
    if ranged := _RANGE.match(block.head):
        start_ms, end_ms, step_ms = (duration_ms(ranged[i]) for i in (1, 2, 3))
        return Case(block.line, ranged[4], start_ms, end_ms, step_ms)
    raise ScriptError(f"line {block.line}: cannot read {block.head!r}")


def _result_line(case: Case, line: str) -> None:
    if line.startswith("expect "):
        _expect(case, line.removeprefix("expect ").strip())
    elif line.startswith("expected_fail"):
        kind, text = line.split(maxsplit=1)
        if kind not in {"expected_fail_message", "expected_fail_regexp"} or case.fails is None:
            raise ValueError(f"cannot read {line!r}")
        case.fails = Wanted(pattern=text) if kind.endswith("regexp") else Wanted(text)
    else:
        series, items = _split_series(line)
        if items:
            case.rows[tuple(sorted(_labels(series).items()))] = values(items)
        else:
            case.scalar = number(series)


def _expect(case: Case, what: str) -> None:
    word, _, rest = what.partition(" ")
    if word in {"fail", "warn", "info"}:
        _expect_text(case, word, _wanted(rest.strip()))
    elif what in {"no_warn", "no_info"}:
        kind = "warnings" if what == "no_warn" else "infos"
        if getattr(case, kind):
            raise ValueError(f"{what!r} beside its contrary")
        setattr(case, kind, [])
    elif what == "ordered":
        if case.step_ms:
            raise ValueError("range queries have no order")
        case.ordered = True
    elif word == "string":
        case.text = _unquoted(rest.strip())
    elif match := _VECTOR.match(what):
        case.times_ms = (duration_ms(match[1]), duration_ms(match[2]), duration_ms(match[3]))
    else:
        raise ValueError(f"cannot read expect {what!r}")


def _expect_text(case: Case, word: str, wanted: Wanted) -> None:
    if word == "fail":
        if case.fails is not None:
            raise ValueError("a second failure")
        case.fails = wanted
        return
    kind = "warnings" if word == "warn" else "infos"
    found: list[Wanted] | None = getattr(case, kind)
    if found == []:
        raise ValueError(f"{word!r} beside its contrary")
    setattr(case, kind, [*(found or []), wanted])


def _wanted(text: str) -> Wanted:
    kind, colon, rest = text.partition(":")
    if not text:
        return Wanted()
    if not colon or kind not in {"msg", "regex"}:
        raise ValueError(f"cannot read {text!r}")
    return Wanted(rest.strip()) if kind == "msg" else Wanted(pattern=rest.strip())


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == "`":
        return text[1:-1]
    found = json.loads(text)
    if not isinstance(found, str):
        raise ValueError(f"cannot read {text!r}")
    return found
