"""Where stateful processors keep what has to survive a restart: one file each, replaced as a whole."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from headrace.pipeline.errors import StoreFailed

if TYPE_CHECKING:
    from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


class StateDirectory:
    """Files by name of the component.

    Args:
        directory: Made where it does not exist.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, name: str) -> bytes | None:
        """Return what was saved under `name`; None where nothing was.

        Raises:
            StoreFailed: The file cannot be read.
        """
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreFailed(f"state {self._path(name)}: {error.strerror}") from None

    def save(self, name: str, state: bytes) -> None:
        """Replace what was saved under `name`; on disk on return.

        Raises:
            StoreFailed: The file cannot be written; the old one stands.
        """
        path = self._path(name)
        new = path.with_suffix(".new")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(state)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError as error:
            raise StoreFailed(f"state {path}: {error.strerror}") from None

    def _path(self, name: str) -> Path:
        return self._directory / f"{_UNSAFE.sub('_', name)}.state"


@runtime_checkable
class StateStorage(Protocol):
    """An extension that keeps states of other components than processors, which name it in ``storage``."""

    @property
    def states(self) -> StateDirectory:
        """Where; called after the extension was started."""
        ...
