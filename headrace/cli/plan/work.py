"""What ``headrace plan`` does; imported when it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.commands import load
from headrace.cli.plan.numbers import Numbers, ids_of
from headrace.cli.plan.report import Report
from headrace.cli.plan.tally import Tally, compared, joined
from headrace.cli.plan.traffic import batches
from headrace.cli.plan.trial import Trial
from headrace.cli.tap import stream
from headrace.cli.warm import warm_up
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.host import Workspaces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.config.load import LoadedConfig

_FAILED, _BAD_CONFIG = 1, 2
_RUNS = ("receivers", "exporters", "extensions")


def plan(options: dict[str, Any]) -> int:
    """Try a configuration out and tell what it changes; return the exit code."""
    new = load(options["against"], options["settings"], options["plugins"])
    old = load(options["files"], (), options["plugins"]) if options["files"] else None
    if new is None or (options["files"] and old is None):
        return _BAD_CONFIG
    _compile(new, old)
    try:
        with _recording(options) as path:
            report = asyncio.run(tried(new, old, path, options["receiver"] or _only_receiver(new)))
    except ConfigError as error:
        click.echo(str(error), err=True)
        return _BAD_CONFIG
    except urllib.error.HTTPError as error:
        click.echo(f"{options['url']}: {error.code}: {error.read().decode(errors='replace').strip()}", err=True)
        return _FAILED
    except OSError as error:
        click.echo(f"{options['url']}: {getattr(error, 'reason', error)}", err=True)
        return _FAILED
    if options["as_json"]:
        click.echo(json.dumps(report.as_json(), indent=2))
    for line in () if options["as_json"] else report.lines(options["most"]):
        click.echo(line)
    return 0


def _compile(*configs: LoadedConfig | None) -> None:
    """Compile the kernels of processors and connectors: those are what runs."""
    used = [
        (kind, planned.factory)
        for config in configs
        if config is not None
        for kind in ("processors", "connectors")
        for planned in config.components[kind].values()
    ]
    warm_up(used, lambda text: click.echo(text, err=True))


@contextlib.contextmanager
def _recording(options: dict[str, Any]) -> Iterator[Path]:
    """Yield the file with the traffic: the one that is named, or a recording of what passes by now."""
    if options["traffic"]:
        yield Path(options["traffic"])
        return
    with tempfile.TemporaryDirectory(prefix="headrace-plan-") as folder:
        path = Path(folder) / "traffic"
        click.echo(f"recording for {options['lasts']} from {options['url']}", err=True)
        with stream(options["url"], options["lasts"], options["headers"]) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
        yield path


async def tried(new: LoadedConfig, old: LoadedConfig | None, path: Path, receiver: str) -> Report:
    """Send recorded traffic through one or two configurations.

    Args:
        new: The configuration in question.
        old: The one that it is compared with; without it, what was received is.
        path: The traffic, see `headrace.cli.plan.traffic.batches`.
        receiver: Whom requests came to in a file that does not say.
    """
    workspaces, numbers = Workspaces(), Numbers()
    trials = [Trial(config, workspaces, numbers) for config in (new, old) if config is not None]
    report = Report("received" if old is None else "present", blind=_blind(new, old))
    received: dict[str, Tally] = {}
    first_ns = last_ns = 0
    for name, batch in batches(path, workspaces, receiver):
        first_ns = first_ns or batch.context.received_ns
        last_ns = batch.context.received_ns
        report.batches += 1
        report.samples += len(batch)
        report.receivers[name] = report.receivers.get(name, 0) + len(batch)
        _receive(received.setdefault(name, Tally()), batch, numbers)
        for trial in trials:
            await trial.feed(name, batch)
    for trial in trials:
        await trial.finish()
    report.lasted_s = (last_ns - first_ns) / 1e9
    _compare(report, trials, received, numbers)
    return report


def _receive(tally: Tally, batch: MetricBatch, numbers: Numbers) -> None:
    found = numbers.of(batch.table, ids_of(batch))
    tally.add(found, found)


def _compare(report: Report, trials: list[Trial], received: dict[str, Tally], numbers: Numbers) -> None:
    new, old = trials[0], trials[-1]
    report.dropped, report.unheard = new.drops(), new.unheard
    for name in dict.fromkeys([*new.exporters, *old.exporters]):
        if old is new:
            reached = new.receivers_of(name)
            before = joined([tally for of, tally in received.items() if of in reached], len(numbers))
        else:
            before = old.exporters.get(name) or Tally()
        report.exporters[name] = compared(before, new.exporters.get(name) or Tally(), numbers)


def _only_receiver(config: LoadedConfig) -> str:
    """Return the receiver of OTLP requests in a file, where there is but one."""
    named = {name for one in config.pipelines for name in one.receivers if name in config.components["receivers"]}
    return named.pop() if len(named) == 1 else ""


def _blind(new: LoadedConfig, old: LoadedConfig | None) -> list[str]:
    """Return the components whose other settings have no effect on recorded traffic."""
    if old is None:
        return []
    return [
        f"{kind}.{name}"
        for kind in _RUNS
        for name, one in new.components[kind].items()
        if name in old.components[kind] and old.components[kind][name].config != one.config
    ]
