"""Prometheus' own test scripts where metric names are removed at once, as they are by default.

The scripts assume that names are removed at the end of a query. A case of which a real Prometheus gives another answer
in the other mode is compared with what it answers; the table of `make conformance` lists these.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest

from headrace.store.api.backend import QueryOptions
from headrace.store.api.errors import ApiError
from headrace.store.api.promql import PromQLService
from headrace.store.api.ticket import Ticket
from headrace.testing.promql_script import run_case, suite_options
from headrace.testing.promql_script_loading import Loader
from headrace.testing.promql_script_reading import Case, Clear, Load, read_script
from headrace.testing.store_fakes import MemoryQueryable
from prometheus_oracle import Oracle, Series, seconds
from promql_fuzz import compare
from promql_scripts import SCRIPTS, case_parameters
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from headrace.testing.promql_script_reading import Command

pytestmark = [
    pytest.mark.peer,
    pytest.mark.conformance("promqltest_name_removal_off"),
    pytest.mark.skipif(not SCRIPTS, reason="no scripts here"),
]


class Judgement(NamedTuple):
    """What is wrong about a case, and whether it was the peer's answer that decided."""

    why: str
    by_peer: bool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names")


@pytest.mark.parametrize(("script", "line"), case_parameters())
def test_case(script: str, line: int, peers: Path, folder: Path, record_property: Any) -> None:
    """An evaluation comes out as the script says, or as Prometheus answers where the mode matters to it."""
    judged = judgements(script, peers, folder)[line]
    if judged.by_peer:
        record_property("judged", f"{script}:{line}: as Prometheus 3.5 answers")
    assert not judged.why


@cache
def judgements(script: str, peers: Path, folder: Path) -> dict[int, Judgement]:
    """Judge the cases of a script."""
    found: dict[int, Judgement] = {}
    for number, commands in enumerate(states(SCRIPTS[script].read_text())):
        with Programs(folder) as programs:
            state = State(programs, peers, folder / f"{script}-{number}")
            for command in commands:
                if isinstance(command, Load):
                    state.load(command)
                elif isinstance(command, Case):
                    found[command.line] = state.judge(command)
            state.close()
    return found


def states(text: str) -> Iterator[list[Command]]:
    """Yield the commands from one ``clear`` to the next."""
    some: list[Command] = []
    for command in read_script(text):
        if isinstance(command, Clear):
            yield some
            some = []
        else:
            some.append(command)
    yield some


class State:
    """The same samples in two real Prometheus, of which one removes names at once, and in a store of ours."""

    def __init__(self, programs: Programs, peers: Path, folder: Path) -> None:
        self._at_once = Oracle(programs, peers, folder / "at-once")
        self._at_end = Oracle(programs, peers, folder / "at-end", delayed=True)
        self._store = MemoryQueryable()
        self._loader = Loader(self._store)
        self._options = suite_options(delayed_name_removal=False)
        self._written: dict[tuple[tuple[str, str], ...], set[int]] = {}

    def load(self, command: Load) -> None:
        """Load samples everywhere."""
        self._loader.load(command)
        fresh: list[Series] = []
        for labels, points in self._store.contents():
            known = self._written.setdefault(tuple(labels.items()), set())
            fresh.append(Series(labels, [(t, value) for t, value in points if t not in known]))
            known.update(t for t, _ in points)
        for oracle in (self._at_once, self._at_end):
            oracle.write([one for one in fresh if one.points])

    def close(self) -> None:
        """End them."""
        self._at_once.stop()
        self._at_end.stop()

    def judge(self, case: Case) -> Judgement:
        """Compare with the script, or with the peer where the mode matters to it."""
        path, form = request(case)
        at_once, at_end = self._at_once.ask(path, **form), self._at_end.ask(path, **form)
        if compare.difference(case.query, at_end, at_once, same=False) is None:
            return Judgement(run_case(case, self._store, self._options), by_peer=False)
        found = compare.difference(case.query, at_once, self._ask(case), same=False)
        return Judgement("" if found is None else f"{found.kind}: {found.detail}", by_peer=True)

    def _ask(self, case: Case) -> dict[str, Any]:
        service, options = PromQLService(self._store, self._options), QueryOptions(Ticket(60.0))
        try:
            if case.step_ms:
                answer = service.range(case.query, case.start_ms, case.end_ms, case.step_ms, options)
            else:
                answer = service.instant(case.query, case.start_ms, options)
        except ApiError as error:
            return {"status": "error", "errorType": error.kind, "error": str(error)}
        data = {"resultType": answer.kind, "result": json.loads(bytes(answer.result)), "stats": {"samples": {}}}
        return {"status": "success", "data": data, "warnings": list(answer.warnings), "infos": list(answer.infos)}


def request(case: Case) -> tuple[str, dict[str, str]]:
    """Return path and form of the API."""
    form = {"query": case.query, "stats": "all"}
    if not case.step_ms:
        return "query", {**form, "time": seconds(case.start_ms)}
    times = {"start": seconds(case.start_ms), "end": seconds(case.end_ms), "step": seconds(case.step_ms)}
    return "query_range", {**form, **times}
