"""``headrace relabel``: what each relabelling rule of a configuration makes of a label set."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from pydantic import TypeAdapter, ValidationError

from headrace.cli.commands import load
from headrace.pipeline.errors import QueryError
from headrace.pipeline.identity import METRIC_NAME
from headrace.pipeline.relabel import RelabelConfig, steps
from headrace.receivers.prometheus.config import PrometheusConfig, PrometheusYml
from headrace.receivers.prometheus.job import Job
from headrace.receivers.prometheus.targets import discovered_labels, target_of
from headrace.store.matchers import MatchType
from headrace.store.promql.language.parser import parse_selector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.pipeline.config.load import LoadedConfig
    from headrace.pipeline.targets import RelabelStep

_BAD_CONFIG = 2
_ADDRESS = "__address__"
_PLAIN = {"action", "source_labels", "regex", "target_label", "replacement", "separator", "modulus"}


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that labels go through.

    Attributes:
        name: How they are chosen: a scrape job, a processor, or ``rules`` for a file that is a list of them.
        targets: Rules for targets.
        metrics: Rules for series.
        job: The scrape job, None for others.
    """

    name: str
    targets: tuple[RelabelConfig, ...] = ()
    metrics: tuple[RelabelConfig, ...] = ()
    job: Job | None = None


def run(files: Sequence[str], chosen: str, labels: str, *, as_json: bool) -> int:
    """Print the steps; return the exit code.

    Args:
        files: Configuration files of the daemon, a prometheus.yml, or a file that is a list of rules.
        chosen: Name of a job or a processor; empty where there is only one.
        labels: With ``__address__`` those of a target, else those of a series.
        as_json: Print JSON.
    """
    try:
        content = read_content(files[0])
        if isinstance(content, dict) and "scrape_configs" not in content:
            loaded = load(files)
            if loaded is None:
                return _BAD_CONFIG
            rules = _choose(_of_daemon(loaded), chosen)
        else:
            rules = _choose(rules_of(content), chosen)
        given = parse_labels(labels)
    except (ValidationError, ValueError) as error:
        click.echo(str(error), err=True)
        return _BAD_CONFIG
    _print(rules, given, as_json=as_json)
    return 0


def _print(rules: Rules, labels: Mapping[str, str], *, as_json: bool) -> None:
    target = rules.job if _ADDRESS in labels else None
    start = labels if target is None else dict(discovered_labels(target, dict(labels)))
    found = steps(rules.metrics if target is None else rules.targets, start)
    if as_json:
        click.echo(json.dumps(_document(rules, start, found), indent=2, ensure_ascii=False))
        return
    for line in _text(target, start, found):
        click.echo(line)


def read_content(path: str) -> Any:
    """Return the YAML of a file.

    Raises:
        ValueError: There is none.
    """
    try:
        return yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from None


def parse_labels(text: str) -> dict[str, str]:
    """Read ``{a="b", "c.d"="e"}``, ``name{a="b"}``, ``a=b,c=d`` or a JSON object.

    Raises:
        ValueError: It is none of them.

    >>> parse_labels('up{job="a"}'), parse_labels("a=b,c=d")
    ({'job': 'a', '__name__': 'up'}, {'a': 'b', 'c': 'd'})
    """
    text = text.strip()
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return _of_text(text)
    if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
        return found
    raise ValueError("--labels: a JSON object whose values are texts is asked for")


def rules_of(content: Any) -> Sequence[Rules]:
    """Return all rules of a prometheus.yml, or of a list of rules.

    Raises:
        ValueError: They are not valid.
    """
    if isinstance(content, list):
        rules = TypeAdapter(tuple[RelabelConfig, ...]).validate_python(content)
        return [Rules("rules", rules, rules)]
    if not isinstance(content, dict):
        raise ValueError("the file is neither a configuration nor a list of rules")
    wanted = {name: value for name, value in content.items() if name in {"global", "scrape_configs"}}
    return _jobs(PrometheusYml.model_validate(wanted))


def _of_daemon(loaded: LoadedConfig) -> Sequence[Rules]:
    found: list[Rules] = []
    for kind in ("receivers", "processors"):
        for id_, planned in loaded.components.get(kind, {}).items():
            config = planned.config
            if isinstance(config, PrometheusConfig):
                found += _jobs(config.config)
            elif id_.partition("/")[0] == "relabel":
                found.append(Rules(id_, (), config.relabel_configs))
    if not found:
        raise ValueError("the configuration has neither scrape jobs nor relabel processors")
    return found


def _jobs(file: PrometheusYml) -> list[Rules]:
    return [
        Rules(job.job_name, job.relabel_configs, job.metric_relabel_configs, Job.of(job, file.global_))
        for job in file.scrape_configs
    ]


def _choose(found: Sequence[Rules], name: str) -> Rules:
    names = ", ".join(rules.name for rules in found)
    chosen = [rules for rules in found if rules.name == name or not name]
    if not chosen:
        raise ValueError(f"--job: there is no {name!r}, but {names}")
    if len(chosen) > 1:
        raise ValueError(f"--job: choose one of {names}")
    return chosen[0]


def _of_text(text: str) -> dict[str, str]:
    if "{" not in text and "=" in text:
        pairs = [pair.partition("=") for pair in text.split(",")]
        return {name.strip(): value.strip().strip('"') for name, _, value in pairs}
    try:
        matchers = parse_selector(text)
    except QueryError as error:
        raise ValueError(f"--labels: {error}") from None
    if any(matcher.type is not MatchType.EQUAL for matcher in matchers):
        raise ValueError("--labels: labels are given with =, not with other matchers")
    return {matcher.name: matcher.value for matcher in matchers}


def _text(target: Job | None, start: Mapping[str, str], found: Sequence[RelabelStep]) -> list[str]:
    lines = [_shown(start)]
    before = dict(start)
    for number, step in enumerate(found, 1):
        lines.append(f"{number:>3}. {_rule(step.rule)}")
        if not step.keep:
            return [*lines, f"dropped by rule {number}"]
        lines += [f"     {change}" for change in _changes(before, step.output)] or ["     no change"]
        before = dict(step.output)
    return [*lines, _shown(before) if target is None else _target(target, start, before)]


def _target(job: Job, start: Mapping[str, str], labels: Mapping[str, str]) -> str:
    try:
        target = target_of(job, tuple(sorted(start.items())), dict(labels))
    except ValueError as error:
        return f"no target: {error}"
    return f"{target.url} {_shown(dict(target.labels))}"


def _document(rules: Rules, start: Mapping[str, str], found: Sequence[RelabelStep]) -> dict[str, Any]:
    applied = [{"rule": dict(step.rule), "keep": step.keep, "output": dict(step.output)} for step in found]
    kept = all(step.keep for step in found)
    output = applied[-1]["output"] if applied else dict(start)
    return {"rules": rules.name, "labels": dict(start), "steps": applied, "keep": kept, "output": output}


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    changes = [f"- {name}={_quoted(value)}" for name, value in sorted(before.items()) if name not in after]
    for name, value in sorted(after.items()):
        if name not in before:
            changes.append(f"+ {name}={_quoted(value)}")
        elif before[name] != value:
            changes.append(f"~ {name}={_quoted(before[name])} -> {_quoted(value)}")
    return changes


def _rule(rule: Mapping[str, Any]) -> str:
    shown = [f"{name}: {_value(value)}" for name, value in rule.items() if name in _PLAIN and name != "action"]
    return " ".join([str(rule["action"]), *shown])


def _value(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, (list, tuple)) else _quoted(str(value))


def _shown(labels: Mapping[str, str]) -> str:
    name = labels.get(METRIC_NAME, "")
    rest = [f"{label}={_quoted(value)}" for label, value in sorted(labels.items()) if label != METRIC_NAME]
    return name + ("{" + ", ".join(rest) + "}" if rest or not name else "")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
