"""Ask the daemon about every option that other collectors have, and write its answers as docs/parity.md.

`parity_options.yaml` beside this file names the options, each with a value that is not its default. Each is put into
a configuration that is otherwise right, and the configuration is loaded: what loads is supported, what does not is
refused with the message that a user would read.

Usage: ``python scripts/parity.py --output docs/parity.md``
"""

from __future__ import annotations

import argparse
import copy
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import yaml

from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.load import validate
from headrace.pipeline.config.source import Document
from parity_files import cell, collector_files, prometheus_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OPTIONS = Path(__file__).with_name("parity_options.yaml")
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "parity.md"

_ID = "parity"
_BESIDE: dict[str, dict[str, Any]] = {
    "basic_auth": {"htpasswd": {"inline": "me:$2y$05$rvYTbUYZ3EEUmBJsyKLYF.iNUHZmBhmcmrnS2h3KqmUSk5wsn5vAm"}},
    "basic_auth/client": {"client_auth": {"username": "me", "password": "secret"}},
    "file_storage": {"directory": "state"},
}
"""Extensions that options may name; those that do not load are left out."""

_HEAD = """# What there is of the Collector and of Prometheus

Every component and option of the OpenTelemetry Collector, of Prometheus' scraping and of vmagent's stream aggregation
that Headrace is meant to replace, put into a configuration and loaded: what loads is supported, what does not is
refused with the message that is shown. `make parity` writes this page; a test keeps it up to date. Headrace's own
components and options are in the [configuration reference](configuration.md) and in `headrace schema`.
"""

Verdict = Literal["supported", "refused", "unknown"]


class Option(NamedTuple):
    """An option to ask about.

    Attributes:
        name: As the page shows it.
        settings: Of the component, with the option among them.
    """

    name: str
    settings: Mapping[str, Any]


class Answer(NamedTuple):
    """What became of a configuration with an option.

    Attributes:
        option: Its name; empty for the component itself.
        verdict: ``unknown`` is a refusal that gives no reason.
        message: Why it is refused.
    """

    option: str
    verdict: Verdict
    message: str = ""


class Component(NamedTuple):
    """The answers about a component; `whole` about its least settings."""

    section: str
    type: str
    whole: Answer
    options: Sequence[Answer]


def main() -> int:
    """Write the page and print the counts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write")
    output = parser.parse_args().output
    found = list(components())
    output.write_text(page(found))
    counts = count(answer for one in found for answer in one.options)
    print(f"parity: {sum(counts.values())} options of {len(found)} components: {_counted(counts)}; {output}")
    return 0


def components() -> Iterator[Component]:
    """Ask about every component and option of the list."""
    listed = yaml.safe_load(OPTIONS.read_text())
    registry = ComponentRegistry()
    beside = {name: body for name, body in _BESIDE.items() if not _faults(registry, "extensions", name, body, {})}
    for name, spec in listed["components"].items():
        section, _, type_ = name.partition("/")
        base = spec.get("base") or {}
        whole = ask(registry, section, type_, Option("", base), beside)
        asked = options(spec, listed["blocks"], base)
        answers = (
            [ask(registry, section, type_, one, beside) for one in asked]
            if whole.verdict == "supported"
            else [Answer(one.name, whole.verdict, whole.message) for one in asked]
        )
        yield Component(section, type_, whole, answers)


def options(
    spec: Mapping[str, Any], blocks: Mapping[str, Any], base: Mapping[str, Any], at: str = ""
) -> Iterator[Option]:
    """Yield the options of a component or block.

    Args:
        spec: Its description.
        blocks: The descriptions of all blocks.
        base: Settings that the component cannot do without.
        at: Path of the part that `spec` describes.
    """
    at = _joined(at, spec.get("at", ""))
    base = placed(base, at, spec["base"]) if at and spec.get("base") and not spec.get("at") else base
    for path, given in (spec.get("options") or {}).items():
        for value, name in _values(_joined(at, path), given):
            yield Option(name, placed(base, _joined(at, path), value))
    for name, settings in (spec.get("settings") or {}).items():
        yield Option(_joined(at, name), placed(base, at, settings))
    for path, named in (spec.get("blocks") or {}).items():
        for one in named if isinstance(named, list) else [named]:
            block = one if isinstance(one, dict) else {"block": one}
            inner = _joined(at, path)
            under = placed(base, inner, block["base"]) if "base" in block else base
            yield from options(blocks[block["block"]], blocks, under, inner)


def _values(name: str, given: Any) -> Iterator[tuple[Any, str]]:
    """Yield the values to try, each with the name of its row."""
    if isinstance(given, dict) and given.keys() == {"each"}:
        for value in given["each"]:
            yield value, f"{name}: {_shown(value)}"
    else:
        yield given, name


def _shown(value: Any) -> str:
    """Return a value as one would write it in YAML, the sole entry of a list without brackets."""
    if isinstance(value, list) and len(value) == 1:
        return _shown(value[0])
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items() if key in {"role", "type"}) or "SRV"
    return str(value) or '""'


def _joined(at: str, path: str) -> str:
    return at + path if path.startswith("[]") or not at else f"{at}.{path}" if path else at


def placed(base: Any, path: str, value: Any) -> Any:
    """Return `base` with `value` at `path`; mappings are merged, a null in them takes a setting away."""
    if not path:
        return merged(base, value)
    name, _, rest = path.partition(".")
    if name.endswith("[]"):
        inner = (base or {}).get(name.removesuffix("[]")) or [{}]
        return {**(base or {}), name.removesuffix("[]"): [placed(inner[0], rest, value)]}
    return {**(base or {}), name: placed((base or {}).get(name), rest, value)}


def merged(under: Any, over: Any) -> Any:
    """Return `over` laid over `under`."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return copy.deepcopy(over)
    out = {**under, **{key: merged(under.get(key), value) for key, value in over.items()}}
    return {key: value for key, value in out.items() if not (key in over and over[key] is None)}


def ask(registry: ComponentRegistry, section: str, type_: str, option: Option, beside: Mapping[str, Any]) -> Answer:
    """Load a configuration with an option; return what became of it."""
    faults = _faults(registry, section, f"{type_}/{_ID}", option.settings, beside)
    if not faults:
        return Answer(option.name, "supported")
    unknown = any(why.startswith(("unknown setting", f"unknown {section.removesuffix('s')} type")) for why in faults)
    return Answer(option.name, "unknown" if unknown else "refused", "; ".join(faults))


def _faults(
    registry: ComponentRegistry, section: str, name: str, settings: Mapping[str, Any], beside: Mapping[str, Any]
) -> list[str]:
    """Return what is wrong with a configuration that has the component, without repeats."""
    try:
        validate(Document(_configuration(section, name, settings, beside)), registry)
    except ConfigFaults as error:
        return list(dict.fromkeys(fault.why for fault in error.faults))
    return []


def _configuration(section: str, name: str, settings: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that is right but for what it says of the component."""
    used: dict[str, list[str]] = {"receivers": ["otlp"], "processors": [], "exporters": ["nop"]}
    document: dict[str, Any] = {"receivers": {"otlp": None}, "exporters": {"nop": None}, "extensions": dict(beside)}
    document.setdefault(section, {})[name] = settings
    pipelines = {"metrics": {**used, **({section: [name]} if section in used else {})}}
    if section == "connectors":
        pipelines["metrics"]["exporters"] = [name]
        for side in ("metrics/side", "metrics/other"):
            pipelines[side] = {**used, "receivers": [name]}
    document["service"] = {"extensions": list(document["extensions"]), "pipelines": pipelines}
    return document


def count(answers: Iterator[Answer]) -> Counter[str]:
    """Return how many answers there are of each verdict."""
    return Counter(answer.verdict for answer in answers)


def page(found: Sequence[Component]) -> str:
    """Return the page in Markdown."""
    whole = count(answer for one in found for answer in one.options)
    lines = [_HEAD, f"{sum(whole.values())} options of {len(found)} components: {_counted(whole)}.", ""]
    lines += ["| component | options | supported | refused |", "|---|---:|---:|---:|"]
    for one in found:
        counts = count(iter(one.options))
        link = f"[{one.section}/{one.type}](#{one.section}{one.type})"
        lines.append(
            f"| {link} | {len(one.options)} | {counts['supported']} | {counts['refused'] + counts['unknown']} |"
        )
    for one in found:
        lines += ["", *_section(one)]
    lines += ["", *collector_files(), "", *prometheus_files(PAGE.read_text())]
    return "\n".join(lines) + "\n"


def _section(one: Component) -> Iterator[str]:
    yield f"## {one.section}/{one.type}\n"
    if one.whole.verdict != "supported":
        yield f"Refused: {one.whole.message}"
        return
    supported = [answer.option for answer in one.options if answer.verdict == "supported"]
    if not one.options:
        yield "Supported; it has no options."
    if supported:
        yield "Supported: " + ", ".join(f"`{name}`" for name in supported) + "."
    refused = [answer for answer in one.options if answer.verdict != "supported"]
    if refused:
        yield "\n| refused | message |\n|---|---|"
        for answer in refused:
            yield f"| `{answer.option}` | {cell(answer.message)} |"


def _counted(counts: Counter[str]) -> str:
    texts = [f"{counts['supported']} supported", f"{counts['refused']} refused with the reason"]
    return ", ".join([*texts, *([f"{counts['unknown']} not known"] if counts["unknown"] else [])])


if __name__ == "__main__":
    raise SystemExit(main())
