"""Read a ``prometheus.yml`` with the files that it names, and find all that is wrong with them."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from headrace.cli.convert.prometheus_yml import sections
from headrace.cli.convert.prometheus_yml.jobs import Global, ScrapeJob
from headrace.cli.convert.prometheus_yml.remote import RemoteRead, RemoteWrite
from headrace.cli.convert.prometheus_yml.written import written
from headrace.pipeline.config.checking import UNKNOWN, checked
from headrace.pipeline.config.faults import ConfigFaults, Fault, Place, hint
from headrace.pipeline.config.source import read
from headrace.receivers.prometheus.job import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

    from headrace.pipeline.config.faults import Path
    from headrace.pipeline.config.source import Document

_FILE = re.compile(r"[^*]*(\*[^/]*)?", re.DOTALL)
"""Paths in which only the last part may hold a star."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a file may hold.

    Attributes:
        sections: Sections that are mappings.
        lists: Sections that are lists of mappings.
        paths: Sections that are lists of paths.
    """

    sections: Mapping[str, type[BaseModel]]
    lists: Mapping[str, type[BaseModel]]
    paths: tuple[str, ...] = ("scrape_config_files",)


PROMETHEUS = Dialect(
    {
        "global": Global,
        "alerting": sections.Alerting,
        "storage": sections.Storage,
        "tracing": sections.Tracing,
        "otlp": sections.Otlp,
        "runtime": sections.Runtime,
    },
    {"scrape_configs": ScrapeJob, "remote_write": RemoteWrite, "remote_read": RemoteRead},
    ("scrape_config_files", "rule_files"),
)


@dataclass(slots=True)
class Checked:
    """What is right in a file.

    Attributes:
        sections: Sections by name; ``scrape_configs`` holds the jobs of all files.
        numbers: Places of entries in the lists of the main file, by section.
        faults: What is wrong; it is not in `sections`.
        notes: What is not wrong, and worth a word.
    """

    sections: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


def check_file(path: str, dialect: Dialect = PROMETHEUS) -> Checked:
    """Read and check a file, and those of its ``scrape_config_files``.

    Files that hold no YAML, or cannot be read, are among the faults.
    """
    return _Check(dialect).file(path)


class _Check:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._found = Checked()
        self._names: dict[tuple[str, str], str] = {}
        self._global: Any = None

    def file(self, path: str) -> Checked:
        document = self._read(path)
        if document is not None:
            self._main(path, document)
        return self._found

    def _main(self, path: str, document: Document) -> None:
        root = self._root(document, {*self._dialect.sections, *self._dialect.lists, *self._dialect.paths})
        for name, model in self._dialect.sections.items():
            if name in root:
                found = check_value(model, root[name], (name,), document, self._tell(document))
                if found is not None:
                    self._found.sections[name] = root[name]
                if name == "global":
                    self._global = found
        self._global = self._global if "global" in root else self._dialect.sections["global"]()
        for name in self._dialect.lists:
            self._list(name, root.get(name, []), document, main=True)
        for name in self._dialect.paths:
            if name in root:
                self._paths(name, root[name], document, FilePath(path).parent)
        self._cross(document)

    def _root(self, document: Document, known: set[str]) -> dict[str, Any]:
        """Return the sections of a document, without those that are empty or unknown."""
        tell = self._tell(document)
        root = written(document, tell)
        if root is None:
            return {}
        if not isinstance(root, dict):
            tell((), "must be a mapping")
            return {}
        for name in document.value:
            if name not in known:
                tell((name,), f"is no section of a prometheus.yml{hint(name, known)}")
        return {name: value for name, value in root.items() if name in known}

    def _list(self, name: str, entries: Any, document: Document, *, main: bool) -> None:
        tell = self._tell(document)
        if not isinstance(entries, list):
            tell((name,), f"must be a list, got {type(entries).__name__}")
            return
        for number, entry in enumerate(entries):
            path = (name, number)
            if entry is None:
                tell(path, "is empty")
                continue
            found = check_value(self._dialect.lists[name], entry, path, document, tell)
            if found is not None and self._stands_alone(name, found, path, document):
                self._found.sections.setdefault(name, []).append(entry)
                self._found.numbers.setdefault(name, []).append(number if main else -1)

    def _stands_alone(self, name: str, found: Any, path: Path, document: Document) -> bool:
        """Check an entry against `global`, and against those before it."""
        key = "job_name" if name == "scrape_configs" else "name"
        called = getattr(found, key)
        tell = self._tell(document)
        if called and (name, called) in self._names:
            tell((*path, key), f"{called!r} is the name of another one, at {self._names[name, called]}")
            return False
        self._names[name, called] = str(document.place((*path, key)))
        try:
            if name == "scrape_configs" and self._global is not None:
                Job.of(found, self._global)
        except ValueError as error:
            tell(path, str(error))
            return False
        return True

    def _paths(self, name: str, paths: Any, document: Document, folder: FilePath) -> None:
        tell = self._tell(document)
        if not isinstance(paths, list):
            tell((name,), f"must be a list of paths, got {type(paths).__name__}")
            return
        for number, found in enumerate(paths):
            pattern = document.texts.get((name, number), found)
            if not isinstance(pattern, str) or not _FILE.fullmatch(pattern) or "\0" in pattern:
                tell((name, number), f"must be a path, with a star in its last part at most, got {pattern!r}")
            elif name == "scrape_config_files":
                self._more_jobs(pattern, number, folder)
        self._found.sections[name] = paths

    def _more_jobs(self, pattern: str, number: int, folder: FilePath) -> None:
        files = sorted(glob.glob(str(folder / pattern)))  # noqa: PTH207 -- patterns may be absolute
        if not files:
            self._found.notes.append((f"scrape_config_files[{number}]", f"no file matches {pattern!r}"))
        for file in files:
            document = self._read(file)
            if document is not None:
                root = self._root(document, {"scrape_configs"})
                self._list("scrape_configs", root.get("scrape_configs", []), document, main=False)

    def _cross(self, document: Document) -> None:
        """Check what stands in two sections."""
        strategy = self._found.sections.get("otlp", {}).get("translation_strategy")
        scheme = getattr(self._global, "metric_name_validation_scheme", None)
        if scheme == "legacy" and strategy in {"NoTranslation", "NoUTF8EscapingWithSuffixes"}:
            why = f"{strategy} needs names in UTF-8, and global.metric_name_validation_scheme is legacy"
            self._tell(document)(("otlp", "translation_strategy"), why)

    def _read(self, path: str) -> Document | None:
        return read_document(path, self._found.faults)

    def _tell(self, document: Document) -> Told:
        return Told(self._found.faults, document)


def check_list(model: type[BaseModel], path: str, faults: list[Fault]) -> list[Any]:
    """Return what is right in a file that is a list of mappings, such as relabelling rules.

    Args:
        model: What each has to be.
        path: The file.
        faults: Where the rest goes.
    """
    document = read_document(path, faults)
    if document is None:
        return []
    tell = Told(faults, document)
    entries = written(document, tell)
    if entries is not None and not isinstance(entries, list):
        tell((), f"must be a list, got {type(entries).__name__}")
        return []
    return [one for i, one in enumerate(entries or ()) if check_value(model, one, (i,), document, tell) is not None]


def check_value(model: type[BaseModel], value: Any, path: Path, document: Document, tell: Told) -> Any:
    """Return what stands at a path as an instance of `model`; None where something is wrong.

    Args:
        model: What it has to be.
        value: What `written` makes of it.
        path: Where it stands.
        document: All of the file.
        tell: Told of mistakes.
    """
    if not isinstance(value, dict):
        tell(path, f"must be a mapping, got {value!r:.80}")
        return None
    faults = len(tell.faults)
    with_nothing = _at(document.value, path)
    if with_nothing != value:
        # Options without a value are left out of `value`; they have to be known all the same.
        checked(model, with_nothing, path, document, lambda at, why: _tell_unknown(at, why, document, tell))
    found = checked(model, value, path, document, tell)
    return found if len(tell.faults) == faults else None


def _tell_unknown(path: Path, why: str, document: Document, tell: Told) -> None:
    if why.startswith(UNKNOWN) and _at(document.value, path) is None:
        tell(path, why)


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def read_document(path: str, faults: list[Fault]) -> Document | None:
    """Read a file; None where it cannot be read or holds no YAML, which goes to `faults`."""
    try:
        return read(FilePath(path).read_text(encoding="utf-8"), path)
    except ConfigFaults as error:
        faults += error.faults
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        faults.append(Fault(Place(path), "", f"cannot be read: {why}"))
    return None


@dataclass(frozen=True, slots=True)
class Told:
    """Puts mistakes on a list, with the paths that users of Prometheus write."""

    faults: list[Fault]
    document: Document

    def __call__(self, path: Path, why: str) -> None:
        """Add a mistake at `path`."""
        why = why.replace(UNKNOWN, "unknown option", 1)
        self.faults.append(Fault(self.document.place(path), dotted(path), why))


def dotted(path: Path) -> str:
    """Write a path as ``remote_write[0].url``.

    >>> dotted(("remote_write", 0, "url"))
    'remote_write[0].url'
    """
    return "".join(_parts(path)).removeprefix(".")


def _parts(path: Path) -> Iterator[str]:
    for part in path:
        yield f"[{part}]" if isinstance(part, int) else f".{part}"
