"""Target groups out of files: ``file_sd_configs``.

A file that cannot be read or parsed leaves its groups as they were; one that is gone takes them along.

Source:
    Prometheus, "Configuration", section file_sd_config.
"""

from __future__ import annotations

import asyncio
import glob
import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Field, field_validator

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.discovery.contract import DiscoveryFactory, TargetGroup
from headrace.pipeline.discovery.groups import TargetGroupConfig, read_groups
from headrace.pipeline.prometheus_http import NUMBERS_ARE_TEXTS
from headrace.pipeline.prometheus_values import PositiveDuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.pipeline.discovery.contract import DiscoverySettings

MAX_FILE_BYTES = 32 << 20
"""Longest file that is read."""

FILEPATH = "__meta_filepath"

_LOOK_EVERY_S = 1.0
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast in C, which is not there in every build."""

_SD_FILE = re.compile(r"[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)")

Stamp = tuple[int, int, int]


class FileSdConfig(ComponentConfig):
    """Files with target groups."""

    model_config = NUMBERS_ARE_TEXTS

    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """Paths that end in .json, .yml or .yaml; the last part may hold one ``*``."""

    refresh_interval: PositiveDuration = timedelta(minutes=5)
    """How often they are read again even if they do not seem to have changed."""

    @field_validator("files")
    @classmethod
    def _check_files(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for path in files:
            if not _SD_FILE.fullmatch(path):
                raise ValueError(f'path name "{path}" is not valid for file discovery')
        return files


@dataclass(slots=True)
class _File:
    stamp: Stamp | None = None
    groups: tuple[TargetGroup, ...] = ()


@dataclass(slots=True)
class FileDiscovery:
    """Reads the files of one ``file_sd_config`` when they change, which is looked for every second."""

    settings: DiscoverySettings
    config: FileSdConfig
    _files: dict[str, _File] = field(default_factory=dict)

    async def run(self, publish: Callable[[Iterable[TargetGroup]], None]) -> None:
        """Publish what the files hold, until cancelled."""
        interval_s = self.config.refresh_interval.total_seconds()
        due_s = self.settings.monotonic_s()
        while True:
            now_s = self.settings.monotonic_s()
            everything = now_s >= due_s
            due_s = now_s + interval_s if everything else due_s
            publish(await asyncio.to_thread(self.refresh, everything=everything))
            await asyncio.sleep(min(_LOOK_EVERY_S, interval_s))

    def refresh(self, *, everything: bool = False) -> list[TargetGroup]:
        """Look at the files, reading those that changed, or all; return the groups that may be others."""
        paths = sorted({path for pattern in self.config.files for path in glob.glob(pattern)})  # noqa: PTH207 -- patterns may be absolute
        before = {group.source for file in self._files.values() for group in file.groups}
        self._files = {path: self._files.get(path) or _File() for path in paths}
        read = [path for path, file in self._files.items() if self._read(path, file, everything=everything)]
        gone = before - {group.source for file in self._files.values() for group in file.groups}
        return [*(group for path in read for group in self._files[path].groups), *map(TargetGroup, sorted(gone))]

    def _read(self, path: str, file: _File, *, everything: bool) -> bool:
        """Read a file where it seems to have changed, and tell whether it was read."""
        try:
            found = Path(path).stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == file.stamp and not everything:
                return False
            file.stamp = stamp
            groups = parse_groups(path, _content(path))
        except (OSError, ValueError) as error:
            self.settings.report.failed("file", str(error), path)
            return False
        self.settings.report.succeeded(path)
        file.groups = tuple(group.group(f"{path}:{i}", {FILEPATH: path}) for i, group in enumerate(groups))
        return True


def parse_groups(path: str, text: str) -> tuple[TargetGroupConfig, ...]:
    """Read target groups as JSON or YAML, by the name of the file.

    Raises:
        ValueError: They are not a list of groups.
    """
    try:
        content: Any = json.loads(text) if path.lower().endswith(".json") else yaml.load(text, _LOADER)  # noqa: S506 -- it is a safe one
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not YAML: {error}") from None
    return () if content is None else read_groups(content)


def _content(path: str) -> str:
    with Path(path).open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"longer than {MAX_FILE_BYTES} bytes")
    return data.decode()


FACTORY = DiscoveryFactory(name="file", config=FileSdConfig, create=FileDiscovery)
