"""What ``headrace tsdb`` does."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.pipeline.errors import ConfigError, HeadraceError, InvalidInput
from headrace.store import inspection
from headrace.store.analysis import analyze as analyzed
from headrace.store.api import params
from headrace.store.backfill import Backfill
from headrace.store.dump import DumpCounts, DumpOptions
from headrace.store.dump import dump as dumped
from headrace.store.log import MAGIC
from headrace.store.openmetrics_import import ImportOptions, import_file
from headrace.store.prometheus_blocks.meta import has_head
from headrace.store.prometheus_import import import_blocks
from headrace.store.promql.language.parser import parse_selector
from headrace.store.repair import repair as repaired
from headrace.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.store.analysis import Analysis, Counted

_FAILED = 1
_BAD_OPTION = 2
_BLOCK_MS = 2 * 3600 * 1000

Options = dict[str, Any]


def run(work: Callable[[Options], int], options: Options) -> int:
    """Do the work of a command; return the exit code."""
    try:
        return work(options)
    except ConfigError as error:
        click.echo(str(error), err=True)
        return _BAD_OPTION
    except (HeadraceError, OSError) as error:
        click.echo(str(error), err=True)
        return _FAILED
    except KeyboardInterrupt:
        click.echo("cut off; the same command goes on where this one was", err=True)
        return _FAILED


# -- import ------------------------------------------------------------------------------------------------


def import_openmetrics(options: Options) -> int:
    """Import a file of samples."""
    settings = ImportOptions(options["form"] == "openmetrics", _labels(options["labels"]), _window_ms(options))
    with Backfill(Path(options["data"]), options["workspace"]) as backfill, _progress(options) as tell:
        result = import_file(
            Path(options["file"]), backfill, settings,
            lambda p: tell("reading" if p.reading else "writing", p.done, p.total),
        )  # fmt: skip
    if result.known:
        _say(options, f"{options['file']} has been imported before; nothing is done")
        return 0
    repeated = result.samples - result.written
    again = f"; {repeated} repeat a series and time, or were written before" if repeated else ""
    _say(options, f"{result.samples} samples read, {result.written} written into {result.blocks} blocks{again}")
    return 0


def import_prometheus(options: Options) -> int:
    """Import blocks of Prometheus."""
    source = Path(options["directory"])
    if has_head(source):
        _say(
            options,
            f"{source}: what Prometheus has in no block yet (wal, chunks_head) is not imported; for the newest hours "
            "make a snapshot (POST /api/v1/admin/tsdb/snapshot) and import that",
        )
    with Backfill(Path(options["data"]), options["workspace"]) as backfill, _progress(options) as tell:
        results = import_blocks(source, backfill, lambda p: tell(p.ulid, p.done, p.series))
    for result in results:
        what = "imported before" if result.known else f"{result.series} series, {result.samples} samples"
        _say(options, f"{result.ulid}: {what}")
    return 0


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ConfigError("--label", f"must be NAME=VALUE, got {pair!r}")
        found[name] = text
    return found


def _window_ms(options: Options) -> int:
    text = options["max_block_duration"]
    try:
        window = params.duration_ns(text) // params.MS
    except ValueError as error:
        raise ConfigError("--max-block-duration", str(error)) from None
    if window < _BLOCK_MS or window % _BLOCK_MS:
        raise ConfigError("--max-block-duration", f"must be a multiple of 2h, got {text}")
    return window


@contextmanager
def _progress(options: Options) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that is told what is done, how much of it, and of how much."""
    if options["quiet"] or not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield tell


def _say(options: Options, text: str) -> None:
    if not options["quiet"]:
        click.echo(text, err=True)


# -- looking -----------------------------------------------------------------------------------------------


def list_blocks(options: Options) -> int:
    """List blocks."""
    directory = Path(options["data"])
    rows: list[dict[str, Any]] = []
    for workspace in inspection.workspaces(directory):
        found = inspection.view(directory, workspace)
        for fault in found.faults:
            click.echo(f"{fault.path}: {fault.what}", err=True)
        for block in sorted(found.blocks, key=lambda one: (one.meta.min_ms, one.number)):
            chunks = len(block.tables.chunk_times) + (0 if block.histograms is None else len(block.histograms.rows))
            meta = block.meta
            rows.append(
                {
                    "workspace": workspace, "block": block.number, "min_time_ms": meta.min_ms,
                    "max_time_ms": meta.max_ms, "series": meta.series, "samples": meta.samples, "chunks": chunks,
                    "size_bytes": block.size_bytes, "level": meta.level,
                }
            )  # fmt: skip
    if options["as_json"]:
        click.echo(json.dumps(rows, indent=2))
        return 0
    head = ("workspace", "block", "from", "to", "series", "samples", "chunks", "bytes", "level")
    table = [
        (row["workspace"], str(row["block"]), _when(row["min_time_ms"]), _when(row["max_time_ms"]),
         *(str(row[name]) for name in ("series", "samples", "chunks", "size_bytes", "level")))
        for row in rows
    ]  # fmt: skip
    _print_table(head, table)
    return 0


def analyze(options: Options) -> int:
    """Tell what blocks are made of."""
    found = inspection.view(Path(options["data"]), options["workspace"])
    blocks = [block for block in found.blocks if not options["numbers"] or block.number in options["numbers"]]
    missing = set(options["numbers"]) - {block.number for block in blocks}
    if missing:
        raise InvalidInput(f"workspace {options['workspace']}: there is no block {min(missing)}")
    if not blocks:
        raise InvalidInput(f"workspace {options['workspace']}: there are no blocks")
    result = analyzed(blocks, options["limit"])
    if options["as_json"]:
        click.echo(json.dumps(asdict(result), indent=2))
    else:
        _print_analysis(result)
    return 0


def _print_analysis(result: Analysis) -> None:
    per_sample = result.size_bytes / max(result.samples, 1)
    click.echo(f"blocks    {result.blocks}")
    click.echo(f"time      {_when(result.min_ms)} to {_when(result.max_ms)}")
    click.echo(f"series    {result.series}")
    click.echo(f"samples   {result.samples}")
    click.echo(f"bytes     {result.size_bytes}, {per_sample:.3f} a sample")
    _print_counted("Bytes by section", sorted(((k, float(v)) for k, v in result.sections.items()), key=lambda r: -r[1]))
    _print_counted("Label names by distinct values", result.labels)
    _print_counted("Label pairs by series", result.pairs)
    _print_counted("Metrics by series", result.metrics)
    _print_counted(
        "Label names by churn (series times the share of the time that they were away)", result.churning_labels
    )
    _print_counted("Label pairs by churn", result.churning_pairs)


def _print_counted(title: str, rows: Counted) -> None:
    click.echo(f"\n{title}:")
    for name, amount in rows:
        click.echo(f"{amount:>14.0f} {name}" if float(amount).is_integer() else f"{amount:>14.2f} {name}")


def dump(options: Options) -> int:
    """Print samples."""
    settings = DumpOptions(openmetrics=options["form"] == "openmetrics")
    settings.matchers = [_selector(text) for text in options["matches"]]
    for key, field in (("min_time", "start_ms"), ("max_time", "end_ms")):
        if options[key]:
            try:
                setattr(settings, field, params.time_ns(options[key]) // params.MS)
            except ValueError as error:
                raise ConfigError(f"--{key.replace('_', '-')}", str(error)) from None
    directory = Path(options["data"])
    counts = DumpCounts()
    found = inspection.view(directory, options["workspace"])
    for fault in found.faults:
        click.echo(f"{fault.path}: {fault.what}", err=True)
    for text in dumped(found, settings, counts):
        click.echo(text, nl=False)
    if settings.openmetrics and counts.stale:
        click.echo(f"{counts.stale} stale markers are left out: OpenMetrics has none", err=True)
    if counts.histograms:
        click.echo(f"{counts.histograms} native histograms are left out", err=True)
    if any(path.stat().st_size > len(MAGIC) for path in (directory / "wal").glob("*.wal")):
        click.echo("what is only in the log is left out: a stopped daemon, or a snapshot, has all in blocks", err=True)
    return 0


def _selector(text: str) -> Any:
    try:
        return parse_selector(text)
    except HeadraceError as error:
        raise ConfigError("--match", f"{text!r}: {error}") from None


def verify(options: Options) -> int:
    """Read everything."""
    faults = list(inspection.verify(Path(options["data"])))
    if options["as_json"]:
        rows = [{"path": str(one.path), "what": one.what, "serious": one.serious} for one in faults]
        click.echo(json.dumps(rows, indent=2))
    else:
        for fault in faults:
            click.echo(f"{'damaged' if fault.serious else 'note'}: {fault.path}: {fault.what}")
    serious = sum(fault.serious for fault in faults)
    if not options["as_json"]:
        click.echo("all is well" if not serious else f"{serious} damaged")
    return _FAILED if serious else 0


# -- changing ----------------------------------------------------------------------------------------------


def repair(options: Options) -> int:
    """Repair a directory."""
    done = 0
    for action in repaired(Path(options["data"]), salvage=options["salvage"], dry_run=options["dry_run"]):
        done += 1
        click.echo(f"{action.path}: {action.what}")
    if not done:
        click.echo("there is nothing to do")
    elif options["dry_run"]:
        click.echo("nothing is changed: --dry-run")
    return 0


def snapshot(options: Options) -> int:
    """Make a snapshot."""
    directory = Path(options["data"])
    inspection.workspaces(directory)
    store = Store(directory)
    store.open()
    try:
        made = store.snapshot()
    finally:
        asyncio.run(store.close())
    click.echo(str(made))
    return 0


def _when(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.ljust(w) if i in {0, 2, 3} else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
