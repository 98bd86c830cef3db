"""Where the reading of files stopped, kept for the next start of the daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace.pipeline.errors import StoreFailed
from headrace.receivers.otlp_json_file_reader import Head

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from headrace.pipeline.state import StateDirectory
    from headrace.receivers.otlp_json_file_reader import RequestFile

Key = tuple[int, int]
"""Device and inode of a file, which it keeps when it is renamed."""


class Offsets:
    """Offsets by file, each with the file's first bytes: an inode may be given to another file.

    Args:
        states: Where they are kept.
        name: Under which name.
    """

    def __init__(self, states: StateDirectory, name: str) -> None:
        self._states = states
        self._name = name
        self._saved: list[list[object]] = []
        self._known: dict[Key, tuple[int, Head]] = {}

    def load(self) -> None:
        """Read what was kept.

        Raises:
            StoreFailed: It cannot be read.
        """
        state = self._states.load(self._name)
        try:
            rows = json.loads(state) if state is not None else []
            for device, inode, position, size, digest in rows:
                self._known[int(device), int(inode)] = int(position), Head(int(size), str(digest))
        except (ValueError, TypeError) as error:
            raise StoreFailed(f"the kept offsets of {self._name} do not fit: {error}") from None

    def of(self, key: Key, path: Path) -> int | None:
        """Return where the reading of a file stopped; None where it is another file, or was never read."""
        found = self._known.pop(key, None)
        if found is None:
            return None
        position, head = found
        return position if path.stat().st_size >= position and head.fits(path) else None

    def save(self, files: Iterable[tuple[Key, RequestFile]]) -> None:
        """Keep the offsets of files, where they have changed.

        Raises:
            StoreFailed: They cannot be written.
        """
        rows: list[list[object]] = [[*key, file.position, *file.head] for key, file in files]
        if rows != self._saved:
            self._states.save(self._name, json.dumps(rows, separators=(",", ":")).encode())
            self._saved = rows
