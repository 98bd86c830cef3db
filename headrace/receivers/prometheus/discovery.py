"""Target groups out of files: ``file_sd_configs``.

A file that cannot be read or parsed leaves its groups as they were; one that is gone takes them along.
"""

from __future__ import annotations

import asyncio
import glob
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from headrace.receivers.prometheus.config import TargetGroup

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from headrace.receivers.prometheus.config import FileSdConfig

MAX_FILE_BYTES = 32 << 20
"""Longest file that is read."""

_LOOK_EVERY_S = 1.0

Stamp = tuple[int, int, int]
Groups = tuple[TargetGroup, ...]


@dataclass(slots=True)
class _File:
    stamp: Stamp | None = None
    groups: Groups = ()
    fault: str = ""


@dataclass(slots=True)
class FileDiscovery:
    """The files of one ``file_sd_config``.

    Attributes:
        config: Its settings.
        logger: Told about files that cannot be used, once a change.
        on_fault: Called once for each of them.
    """

    config: FileSdConfig
    logger: logging.Logger
    on_fault: Callable[[], None] = lambda: None
    _files: dict[str, _File] = field(default_factory=dict)

    async def watch(self, monotonic_s: Callable[[], float], changed: Callable[[], None]) -> None:
        """Call `changed` whenever the groups are others; runs until cancelled."""
        due = monotonic_s() + self.config.refresh_interval.total_seconds()
        while True:
            await asyncio.sleep(min(_LOOK_EVERY_S, self.config.refresh_interval.total_seconds()))
            everything = monotonic_s() >= due
            if everything:
                due = monotonic_s() + self.config.refresh_interval.total_seconds()
            if await asyncio.to_thread(self.refresh, everything=everything):
                changed()

    def refresh(self, *, everything: bool = False) -> bool:
        """Look at the files, reading those that changed, or all; return whether the groups are others."""
        paths = sorted({path for pattern in self.config.files for path in glob.glob(pattern)})  # noqa: PTH207 -- patterns may be absolute
        before = self.groups()
        files = {path: self._files.get(path) or _File() for path in paths}
        for path, file in files.items():
            self._read(path, file, everything=everything)
        self._files = files
        return self.groups() != before

    def groups(self) -> list[tuple[TargetGroup, Mapping[str, str]]]:
        """Return the target groups of all files, with the labels that tell where they come from."""
        return [(group, {"__meta_filepath": path}) for path, file in self._files.items() for group in file.groups]

    def _read(self, path: str, file: _File, *, everything: bool) -> None:
        try:
            found = Path(path).stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == file.stamp and not everything:
                return
            file.stamp = stamp
            file.groups = parse_groups(path, _content(path))
            file.fault = ""
        except (OSError, ValueError) as error:
            if file.fault != str(error):
                file.fault = str(error)
                self.logger.warning("file_sd: keeping what %s held before: %s", path, error)
                self.on_fault()


def parse_groups(path: str, text: str) -> Groups:
    """Read target groups as JSON or YAML, by the name of the file.

    Raises:
        ValueError: They are not a list of groups.
    """
    try:
        content: Any = json.loads(text) if path.lower().endswith(".json") else yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not YAML: {error}") from None
    if content is None:
        return ()
    if not isinstance(content, list):
        raise ValueError("the file holds no list of target groups")
    groups = []
    for number, entry in enumerate(content):
        try:
            groups.append(TargetGroup.model_validate(entry))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"target group {number + 1}: {where}: {first['msg']}") from None
    return tuple(groups)


def _content(path: str) -> str:
    with Path(path).open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"longer than {MAX_FILE_BYTES} bytes")
    return data.decode()
