"""Small files with secrets, read again when they change."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_log = logging.getLogger(__name__)

MAX_BYTES = 1 << 20
_CHECK_EVERY_S = 1.0


class WatchedFile(Generic[T]):
    """The parsed content of a file.

    `value` looks at the file at most once a second; content that does not parse leaves the previous value in use.

    Args:
        path: The file.
        parse: Turns its text into a value; raises ValueError, whose text must not quote secrets.
        key: Setting that names the file, for errors.
        monotonic_s: Seconds that never go back.

    Raises:
        ConfigError: The file cannot be read or parsed.
    """

    def __init__(
        self, path: str, parse: Callable[[str], T], key: str, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = Path(path)
        self._parse = parse
        self._monotonic_s = monotonic_s
        self._checked_s = monotonic_s()
        try:
            self._seen = self._stamp()
            self._value = self._read()
        except (OSError, ValueError) as error:
            raise ConfigError(key, f"cannot use {path}: {_why(error)}") from None

    @property
    def value(self) -> T:
        """The present content."""
        now = self._monotonic_s()
        if now - self._checked_s >= _CHECK_EVERY_S:
            self._checked_s = now
            self._refresh()
        return self._value

    def _refresh(self) -> None:
        try:
            seen = self._stamp()
            if seen == self._seen:
                return
            self._value = self._read()
            self._seen = seen
        except (OSError, ValueError) as error:
            _log.warning("keeping what %s held before: %s", self._path, _why(error))

    def _stamp(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> T:
        with self._path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"longer than {MAX_BYTES} bytes")
        return self._parse(data.decode("utf-8"))


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
