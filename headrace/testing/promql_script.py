"""Run PromQL test scripts, in the language of Prometheus' own: load series, evaluate, compare.

Each instant query is asked again with ``@`` on its selectors and as a range query: see `promql_script_reruns`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import HeadraceError
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions
from headrace.store.promql.language.parser import ParserOptions, parse
from headrace.store.promql.values import Grid
from headrace.testing.promql_script_comparing import differ_annotations, differ_points, differs, expected, points
from headrace.testing.promql_script_loading import Loader
from headrace.testing.promql_script_reading import Case, Clear, Load, read_script
from headrace.testing.promql_script_reruns import Rerun, has_range, pinned
from headrace.testing.store_fakes import MemoryQueryable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from headrace.store.promql.evaluate import Result, Source
    from headrace.testing.promql_script_comparing import Points
    from headrace.testing.promql_script_reading import Key

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one evaluation.

    Attributes:
        line: Where it stands in the script, from 1.
        query: Expression.
        outcome: ``passed`` or ``failed``.
        why: Reason, unless it passed.
    """

    line: int
    query: str
    outcome: str
    why: str = ""


def suite_options(*, delayed_name_removal: bool = True) -> EvaluatorOptions:
    """Return the settings that Prometheus' scripts assume: every part of the language is on."""
    everything = {f.name: True for f in fields(ParserOptions) if f.type in {"bool", bool}}
    switches: dict[str, Any] = {
        "delayed_name_removal": delayed_name_removal,
        "start_timestamps": True,
    }
    there = {f.name for f in fields(EvaluatorOptions)}
    return EvaluatorOptions(
        max_samples=10_000,
        parser=ParserOptions(**everything),
        **{name: value for name, value in switches.items() if name in there},
    )


def run_script(text: str, options: EvaluatorOptions | None = None, *, again: bool = True) -> Iterator[Verdict]:
    """Yield a verdict for each ``eval`` of a script.

    Args:
        text: The script.
        options: How to evaluate; `suite_options` if none are given.
        again: Whether to ask in other forms too.

    Raises:
        ScriptError: A line of the script is not understood.
    """
    options = options or suite_options()
    store = MemoryQueryable()
    loader = Loader(store)
    for command in read_script(text):
        match command:
            case Clear():
                store = MemoryQueryable()
                loader = Loader(store)
            case Load():
                loader.load(command)
            case Case():
                why = run_case(command, store, options, again=again)
                yield Verdict(command.line, command.query, "failed" if why else "passed", why)


def run_case(case: Case, store: Source, options: EvaluatorOptions, *, again: bool = True) -> str:
    """Return what is wrong about a case; nothing where all is as expected."""
    return _Asked(case, Evaluator(store, options), options).wrong(again=again)


class _Asked:
    """A case under way."""

    def __init__(self, case: Case, evaluator: Evaluator, options: EvaluatorOptions) -> None:
        self._case = case
        self._evaluator = evaluator
        self._options = options

    def wrong(self, *, again: bool) -> str:
        """Return what is wrong; nothing where all is as expected."""
        case = self._case
        try:
            expr = parse(case.query, self._options.parser)
            if case.step_ms:
                return self._checked(lambda: self._range(case.query, case.start_ms, case.end_ms, case.step_ms))
            once = Rerun(case.query, case.start_ms)
            why = self._instant(once)
            if why or not again or case.times_ms is not None or case.text is not None:
                return why
            return self._around(once) or self._pinned(pinned(case.query, expr, case.start_ms))
        except Exception as error:  # noqa: BLE001 -- a bug of ours is a verdict here
            return f"{type(error).__name__}: {error}"

    def _pinned(self, reruns: Iterable[Rerun]) -> str:
        for rerun in reruns:
            if why := self._instant(rerun, places=False) or self._around(rerun):
                return f"{rerun.query} at {rerun.time_ms} ms: {why}"
        return ""

    def _instant(self, asked: Rerun, *, places: bool = True) -> str:
        return self._checked(lambda: self._evaluator.instant(asked.query, asked.time_ms), places=places)

    def _range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Result:
        return self._evaluator.range(query, start_ms, end_ms, step_ms)

    def _checked(self, ask: Callable[[], Result], *, places: bool = True) -> str:
        """Compare all there is; `places` tells whether positions of annotations count."""
        case = self._case
        try:
            result = ask()
        except HeadraceError as error:
            return _failed(case, str(error))
        if case.fails is not None:
            return "did not fail"
        return (
            differ_annotations("warning", result.warnings, case.warnings, places=places)
            or differ_annotations("info", result.infos, case.infos, places=places)
            or differs(case, _at_time(result, case.start_ms))
        )

    def _around(self, asked: Rerun) -> str:
        """Compare the middle of a range query with what is expected."""
        case = self._case
        if case.ordered or case.fails is not None or not has_range(asked.query):
            return ""
        result = self._range(asked.query, asked.time_ms - MINUTE_MS, asked.time_ms + MINUTE_MS, MINUTE_MS)
        found: dict[Key, Points] = {
            key: {case.start_ms: row[asked.time_ms]} for key, row in points(result).items() if asked.time_ms in row
        }
        wanted = expected(case)
        if case.scalar is not None:
            wanted = {(): {case.start_ms: case.scalar}}
        why = differ_points(case, found, wanted)
        return f"as a range query: {why}" if why else ""


def _failed(case: Case, text: str) -> str:
    if case.fails is None:
        return f"failed: {text}"
    return "" if case.fails.fits(text) else f"failed with {text!r}, not {case.fails.text or case.fails.pattern!r}"


def _at_time(result: Result, start_ms: int) -> Result:
    """Return the answer of an instant query as if it had been asked at the time of the script."""
    return replace(result, grid=Grid.at(start_ms)) if result.grid.size == 1 else result
