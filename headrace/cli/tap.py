"""``headrace tap``: what passes by in a running daemon; imported when the command runs."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK_BYTES = 65_536
_TIMEOUT_S = 30.0
"""Longer than the pauses of a stream: the daemon says something every few seconds."""


def show(url: str, options: dict[str, Any]) -> int:
    """Show samples, record batches or list edges; return the exit code."""
    base, headers = url.rstrip("/"), _headers(options["headers"])
    try:
        if options["list_edges"]:
            with _opened(f"{base}/tap/edges", headers) as answer:
                for edge in json.load(answer):
                    click.echo(edge)
            return 0
        if options["record"]:
            return _record(f"{base}/tap?{_query(options, 'batches')}", headers, Path(options["record"]))
        with _opened(f"{base}/tap?{_query(options, 'json' if options['as_json'] else 'text')}", headers) as answer:
            _print(answer, options["count"])
    except KeyboardInterrupt:
        return 0
    except urllib.error.HTTPError as error:
        click.echo(f"{url}: {error.code}: {error.read().decode(errors='replace').strip()}", err=True)
        return 1
    except OSError as error:
        click.echo(f"{url}: {getattr(error, 'reason', error)}", err=True)
        return 1
    return 0


def stream(url: str, lasts: str, header_lines: Sequence[str]) -> Any:
    """Return the open stream of all that receivers send, as a recording, for some time."""
    query = urllib.parse.urlencode({"format": "batches", "edge": "receivers.*", "for": lasts})
    return _opened(f"{url.rstrip('/')}/tap?{query}", _headers(header_lines))


def _query(options: dict[str, Any], form: str) -> str:
    edges = options["edges"] or (["receivers.*"] if options["record"] else [])
    fields: list[tuple[str, str]] = [("format", form), *(("edge", edge) for edge in edges)]
    named = {"match": options["match"], "limit": options["limit"], "for": options["lasts"]}
    return urllib.parse.urlencode([*fields, *((name, str(value)) for name, value in named.items() if value)])


def _record(url: str, headers: dict[str, str], path: Path) -> int:
    size = 0
    with _opened(url, headers) as answer, path.open("wb") as file:
        path.chmod(0o600)  # Labels are written as they are.
        try:
            while part := answer.read1(_CHUNK_BYTES):
                size += file.write(part)
        except KeyboardInterrupt:
            click.echo(err=True)
    click.echo(f"recorded {size} bytes into {path}", err=True)
    return 0


def _print(answer: Any, count: int) -> None:
    shown = 0
    for line in answer:
        text = line.decode().rstrip("\n")
        if text:
            click.echo(text)
            shown += not text.startswith("# ")
            if count and shown >= count:
                return


def _headers(lines: Sequence[str]) -> dict[str, str]:
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _opened(url: str, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 -- the user's own choice
    return urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310 -- see above
