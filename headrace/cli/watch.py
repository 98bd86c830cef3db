"""Notices when configuration files change: by their content, so that it does not matter how they are written."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.pipeline.config.substitution import read_bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

POLL_S = 1.0
"""Between two looks at the files: a file system tells changes in ways of its own, or not at all."""


class Watched:
    """Files that a configuration is made of.

    Args:
        sources: What ``--config`` names.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self._own = [Path(one.removeprefix("file:")) for one in sources if not one.startswith(("yaml:", "env:"))]
        self._referred: set[Path] = set()
        self._seen = ""

    def read(self, path: str) -> str:
        """Read a file that the configuration refers to, and watch it from now on."""
        self._referred.add(Path(path))
        return read_bounded(path)

    def note(self) -> None:
        """Take the present content for known."""
        self._seen = self._digest()

    def changed(self) -> bool:
        """Return whether something has changed since it was last asked or noted."""
        before = self._seen
        self.note()
        return before != self._seen

    async def watch(self, changed: Callable[[], None], poll_s: float = POLL_S) -> None:
        """Call `changed` whenever something has changed."""
        while True:
            await asyncio.sleep(poll_s)
            if await asyncio.to_thread(self.changed):
                changed()

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in [*self._own, *sorted(self._referred)]:
            try:
                digest.update(path.read_bytes())
            except OSError as error:
                digest.update(str(error).encode())
            digest.update(b"\0")
        return digest.hexdigest()
