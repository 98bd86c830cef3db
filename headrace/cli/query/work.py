"""What the commands of ``headrace query`` do."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.promql.pointing import pointed
from headrace.cli.query import plot, tables
from headrace.cli.query.client import Answer, Client, QueryFailed, access
from headrace.cli.query.times import parse_duration, parse_time, time_text
from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Work = Callable[[Client, Sequence[str], Mapping[str, Any]], None]

_FAILED, _WRONG_USE = 1, 2
_POINTS = 250
"""Steps of a range query that does not say."""

_WINDOW_S = 3600.0
_PLOT_HEIGHT = 16
_PLACE = re.compile(r"(\d+:\d+): parse error: ")
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def run(work: Work, arguments: Sequence[str], options: Mapping[str, Any]) -> int:
    """Do `work`; return the exit code: 1 where the server could not answer, 2 where the options are wrong."""
    try:
        client = Client(access(options, parse_duration("--timeout", options["timeout"])))
        work(client, arguments, options)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        return _WRONG_USE
    except QueryFailed as error:
        click.echo(f"Error: {f'{error.kind}: ' if error.kind else ''}{error}", err=True)
        place = _PLACE.search(str(error))
        if place and arguments:
            click.echo(pointed(arguments[0], place.group(1)), err=True)
        return _FAILED
    return 0


def instant(client: Client, arguments: Sequence[str], options: Mapping[str, Any]) -> None:
    """Evaluate at one time."""
    parameters = [("query", arguments[0])]
    if options["at"] is not None:
        parameters.append(("time", _number(parse_time("--time", options["at"], time.time()))))
    answer = client.ask("query", parameters, post=True)
    _show(answer, options, lambda data: _instant_lines(data["resultType"], data["result"]))


def _instant_lines(kind: str, result: Any) -> list[str]:
    if kind == "vector":
        return tables.vector(result) if result else ["no series"]
    if kind == "matrix":
        return tables.samples(result) if result else ["no series"]
    return [f"at {time_text(result[0])}", result[1]]


def over_range(client: Client, arguments: Sequence[str], options: Mapping[str, Any]) -> None:
    """Evaluate at steps."""
    start, end = _window(options, _WINDOW_S)
    assert start is not None
    assert end is not None
    step = parse_duration("--step", options["step"]) if options["step"] else max(1.0, (end - start) // _POINTS)
    parameters = [("query", arguments[0]), ("start", _number(start)), ("end", _number(end)), ("step", _number(step))]
    answer = client.ask("query_range", parameters, post=True)

    def lines(data: Any) -> list[str]:
        rows = data["result"]
        if not rows:
            return ["no series"]
        head = f"{time_text(start)} to {time_text(end)}, step {step:g}s"
        drawn = _drawn(rows, start, end) if options["plot"] else tables.matrix(rows, start, end)
        return [head, *drawn]

    _show(answer, options, lines)


def _drawn(rows: Sequence[Mapping[str, Any]], start: float, end: float) -> list[str]:
    width = shutil.get_terminal_size().columns
    lines = plot.plot([tables.points(row) for row in rows], start, end, width, _PLOT_HEIGHT)
    drawn = ["".join(_colored(text, number) for text, number in line).rstrip() for line in lines]
    legend = [f"{_colored('──', i)} {tables.series_text(row['metric'])}" for i, row in enumerate(rows)]
    return [*drawn, *legend]


def _colored(text: str, number: int) -> str:
    """Color the text of a series; `click.echo` takes colors out where the output is no terminal."""
    return text if number < 0 else click.style(text, fg=plot.COLORS[number % len(plot.COLORS)])


def series(client: Client, arguments: Sequence[str], options: Mapping[str, Any]) -> None:
    """List series."""
    selectors = [*arguments, *options["selectors"]]
    if not selectors:
        raise ConfigError("--match", "is needed: which series?")
    answer = client.ask("series", _selection(selectors, options), post=True)
    _show(answer, options, lambda data: sorted(map(tables.series_text, data)) or ["no series"])


def labels(client: Client, arguments: Sequence[str], options: Mapping[str, Any]) -> None:
    """List names or values of labels."""
    path = f"label/{_escaped(arguments[0])}/values" if arguments else "labels"
    answer = client.ask(path, _selection(options["selectors"], options))
    _show(answer, options, lambda data: list(data) or ["no labels"])


def _escaped(name: str) -> str:
    """Write a label's name for a path; one with other characters as Prometheus escapes it."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    escaped = "".join(c if c.isascii() and c.isalnum() else "__" if c == "_" else f"_{ord(c):x}_" for c in name)
    return urllib.parse.quote(f"U__{escaped}")


def metadata(client: Client, arguments: Sequence[str], options: Mapping[str, Any]) -> None:
    """List metadata of metrics."""
    parameters = [("metric", name) for name in arguments]
    if options["limit"]:
        parameters.append(("limit", str(options["limit"])))
    _show(client.ask("metadata", parameters), options, lambda data: tables.metadata(data) if data else ["no metadata"])


def _selection(selectors: Sequence[str], options: Mapping[str, Any]) -> list[tuple[str, str]]:
    parameters = [("match[]", selector) for selector in selectors]
    start, end = _window(options, None)
    parameters += [(name, _number(at)) for name, at in (("start", start), ("end", end)) if at is not None]
    return parameters + ([("limit", str(options["limit"]))] if options["limit"] else [])


def _window(options: Mapping[str, Any], length_s: float | None) -> tuple[float | None, float | None]:
    """Return start and end; those that are not given only where there is a default length."""
    now = time.time()
    end = parse_time("--end", options["end"], now) if options["end"] else now if length_s else None
    start = parse_time("--start", options["start"], now) if options["start"] else None
    if start is None and length_s and end is not None:
        start = end - length_s
    if start is not None and end is not None and end < start:
        raise ConfigError("--end", "must not be before --start")
    return start, end


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _show(answer: Answer, options: Mapping[str, Any], lines: Callable[[Any], list[str]]) -> None:
    for kind, notes in (("warning", answer.warnings), ("info", answer.infos)):
        for note in notes:
            click.echo(f"{kind}: {note}", err=True)
    if options["as_json"]:
        json.dump(answer.data, sys.stdout, indent=2, ensure_ascii=False)
        click.echo()
        return
    for line in lines(answer.data):
        click.echo(line)
