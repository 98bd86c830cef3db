"""What becomes of whole files that were written for other programs, as sections of docs/parity.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.load import load_files
from headrace.pipeline.config.substitution import Substitution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.config.faults import Fault

ROOT = Path(__file__).parents[1]
FILES = ROOT / "configs" / "collector"
PROMETHEUS = ROOT.parent / "shared" / "conformance" / "config"
"""The files of Prometheus' own tests, where they are at hand."""

_CONFIG = "receivers::prometheus::config"
_HEAD = "## Files of Prometheus' own tests"


def collector_files() -> Iterator[str]:
    """Yield the section about files of the Collector."""
    yield "## Whole files\n"
    yield "Files as one writes them for the Collector, in [configs/collector](../configs/collector):\n"
    yield "| file | what it is | loads, or what is refused |\n|---|---|---|"
    for path in sorted(FILES.glob("*.yaml")):
        what = path.read_text().partition("\n")[0].removeprefix("# ")
        yield f"| `{path.name}` | {cell(what)} | {_verdict(map(str, file_faults(path)), f'{path.parent}/')} |"


def prometheus_files(page: str) -> Iterator[str]:
    """Yield the section about files of Prometheus; as it stands in `page` where the files are not at hand."""
    if not PROMETHEUS.is_dir():
        _, head, text = page.partition(_HEAD)
        yield (head + text).rstrip("\n")
        return
    found = {path.name: prometheus_faults(path) for path in good_files()}
    good = sum(not faults for faults in found.values())
    yield f"{_HEAD}\n"
    yield (
        "Every file that Prometheus' tests take for right, unchanged, as `receivers: {prometheus: {config: "
        f"${{file:FILE}}}}}}`: {good} of {len(found)} load, {len(found) - good} are refused with the reason.\n"
    )
    yield "| file | loads, or what is refused |\n|---|---|"
    for name, faults in found.items():
        texts = (f"`{fault.key.removeprefix(f'{_CONFIG}::') or 'the file'}`: {fault.why}" for fault in faults)
        yield f"| `{name}` | {_verdict(texts)} |"


def good_files() -> list[Path]:
    """Return the files of Prometheus' tests that Prometheus takes."""
    return sorted(path for path in PROMETHEUS.glob("*.y*ml") if ".bad." not in path.name)


def file_faults(path: Path) -> list[Fault]:
    """Return what is wrong with a file of the Collector."""
    return _faults(str(path))


def prometheus_faults(path: Path) -> list[Fault]:
    """Return what is wrong with a prometheus.yml as the configuration of the receiver."""
    pipeline = {"receivers": ["prometheus"], "exporters": ["nop"]}
    document = {
        "receivers": {"prometheus": {"config": f"${{file:{path}}}"}},
        "exporters": {"nop": None},
        "service": {"pipelines": {"metrics": pipeline}},
    }
    return _faults(f"yaml:{json.dumps(document)}")


def _faults(source: str) -> list[Fault]:
    try:
        load_files([source], ComponentRegistry(), substitution=Substitution({}))
    except ConfigFaults as error:
        return list(error.faults)
    return []


def _verdict(faults: Iterator[str], folder: str = "") -> str:
    return "<br>".join(cell(text.removeprefix(folder)) for text in faults) or "yes"


def cell(text: str) -> str:
    """Return a text as the cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")
