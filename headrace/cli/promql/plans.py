"""What ``headrace promql explain`` does."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.promql.pointing import pointed
from headrace.cli.query import work
from headrace.cli.query.client import QueryFailed
from headrace.cli.query.times import parse_duration, parse_time
from headrace.pipeline.errors import ConfigError, HeadraceError, InvalidInput
from headrace.store import inspection
from headrace.store.promql.errors import ParseError, place
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions
from headrace.store.promql.evaluation import Span
from headrace.store.promql.language.parser import ALL_FEATURES
from headrace.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.cli.query.client import Client
    from headrace.store.promql.explain import Plan

_FAILED, _WRONG_USE = 1, 2


def explain(query: str, options: Mapping[str, Any]) -> int:
    """Print the plan of a query; return the exit code: 1 where it cannot be had, 2 where the options are wrong."""
    if options["data"] is None:
        return work.run(_ask, [query], options)
    try:
        plan = _plan(query, options)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        return _WRONG_USE
    except ParseError as error:
        click.echo(f"{error}\n{pointed(query, place(query, error.position))}", err=True)
        return _FAILED
    except HeadraceError as error:
        click.echo(f"Error: {error}", err=True)
        return _FAILED
    _show("\n".join(plan.lines()), options)
    return 0


def _ask(client: Client, arguments: Sequence[str], options: Mapping[str, Any]) -> None:
    """Have a server explain; see `headrace.cli.query.work.run`."""
    span = _span(options, round(time.time() * 1000))
    parameters = [("query", arguments[0]), ("explain", "analyze" if options["analyze"] else "plan")]
    if span.step_ms:
        parameters += [("start", _seconds(span.start_ms)), ("end", _seconds(span.end_ms))]
        path, parameters = "query_range", [*parameters, ("step", _seconds(span.step_ms))]
    else:
        path, parameters = "query", [*parameters, ("time", _seconds(span.start_ms))]
    data = client.ask(path, parameters, post=True).data
    if data.get("resultType") != "string":
        raise QueryFailed("the server has evaluated the expression instead: only Headrace explains")
    _show(data["result"][1], options)


def _seconds(time_ms: int) -> str:
    return f"{time_ms / 1000:.3f}"


def _show(text: str, options: Mapping[str, Any]) -> None:
    click.echo(json.dumps(text.split("\n"), ensure_ascii=False) if options["as_json"] else text)


def _plan(query: str, options: Mapping[str, Any]) -> Plan:
    directory = Path(options["data"])
    if options["workspace"] not in inspection.workspaces(directory):
        raise InvalidInput(f"{directory}: there is no workspace {options['workspace']}")
    store = Store(directory)
    store.open()
    try:
        engine = store.engine(options["workspace"])
        evaluator = Evaluator(engine, EvaluatorOptions(parser=ALL_FEATURES))
        return evaluator.explain(query, _span(options, engine.newest_ms()), analyze=bool(options["analyze"]))
    finally:
        asyncio.run(store.close())


def _span(options: Mapping[str, Any], newest_ms: int) -> Span:
    if options["start"] is None:
        at = _when("--time", options["at"], newest_ms)
        return Span(at, at, 0)
    start, end = _when("--start", options["start"], newest_ms), _when("--end", options["end"], newest_ms)
    return Span(start, end, round(parse_duration("--step", options["step"]) * 1000))


def _when(option: str, text: str | None, newest_ms: int) -> int:
    """Return a time; durations count back from now, as in ``headrace query``."""
    return newest_ms if text is None else round(parse_time(option, text, time.time()) * 1000)
