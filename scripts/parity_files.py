"""What becomes of whole files that were written for other programs, as sections of docs/parity.md.

Usage: ``python scripts/parity_files.py`` prints every file with what becomes of it, and the counts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.load import load_files
from headrace.pipeline.config.substitution import Substitution

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.pipeline.config.faults import Fault

ROOT = Path(__file__).parents[1]
FILES = ROOT / "configs" / "collector"
PROMETHEUS = ROOT.parent / "shared" / "conformance" / "config"
"""The files of Prometheus' own tests, where they are at hand."""

_CONFIG = "receivers::prometheus::config"
_HEAD = "## Files of Prometheus' own tests"


def main() -> int:
    """Print what becomes of every file, one a line, and how many load; return the exit code."""
    _show("the Collector", {path: file_faults(path) for path in sorted(FILES.glob("*.yaml"))})
    _show("Prometheus, right", {path: prometheus_faults(path) for path in good_files()})
    _show("Prometheus, wrong", {path: prometheus_faults(path) for path in bad_files()})
    return 0


def _show(what: str, found: Mapping[Path, Sequence[Fault]]) -> None:
    for path, faults in found.items():
        print(f"{path.name}: {'refused' if faults else 'loads'}")
        print(*(f"    {str(fault).removeprefix(f'{path.parent}/')}\n" for fault in faults), sep="", end="")
    loading = sum(not faults for faults in found.values())
    print(f"files of {what}: {len(found)}, {loading} load, {len(found) - loading} refused with the reason\n")


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
    wrong = bad_files()
    yield f"{_HEAD}\n"
    yield (
        "Every file that Prometheus' tests take for right, unchanged, as `receivers: {prometheus: {config: "
        f"${{file:FILE}}}}}}`: {good} of {len(found)} load, {len(found) - good} are refused with the reason. Of the "
        f"{len(wrong)} files that they take for wrong, {sum(map(bool, map(prometheus_faults, wrong)))} are refused.\n"
    )
    yield "| file | loads, or what is refused |\n|---|---|"
    for name, faults in found.items():
        texts = (f"`{fault.key.removeprefix(f'{_CONFIG}::') or 'the file'}`: {fault.why}" for fault in faults)
        yield f"| `{name}` | {_verdict(texts)} |"


def good_files() -> list[Path]:
    """Return the files of Prometheus' tests that Prometheus takes."""
    return sorted(path for path in PROMETHEUS.glob("*.y*ml") if ".bad." not in path.name)


def bad_files() -> list[Path]:
    """Return the files of Prometheus' tests that Prometheus refuses."""
    return sorted(PROMETHEUS.glob("*.bad.y*ml"))


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


if __name__ == "__main__":
    sys.exit(main())
