"""What sources said about metric families, for destinations that want to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.wire.protobuf_text import text_field, varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from headrace.pipeline.batch import Metadata

_MOST = 100_000

_SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_created", "_info")


class Families:
    """Metadata by metric family.

    Attributes:
        generation: Goes up with each change.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._known: dict[str, Metadata] = {}
        self._unsent: dict[str, None] = {}

    def learn(self, metadata: Iterable[Metadata]) -> None:
        """Take what a batch says."""
        for one in metadata:
            if self._known.get(one.family) == one:
                continue
            if len(self._known) >= _MOST:
                self._known.clear()
                self._unsent.clear()
            self._known[one.family] = one
            self._unsent[one.family] = None
            self.generation += 1

    def of(self, name: str) -> Metadata | None:
        """Return what is known of the family of a metric, None for nothing."""
        found = self._known.get(name)
        for suffix in _SUFFIXES if found is None else ():
            if name.endswith(suffix):
                found = self._known.get(name.removesuffix(suffix))
                if found is not None:
                    break
        return found

    def repeat(self) -> None:
        """Have `unsent` return everything: servers forget."""
        self._unsent = dict.fromkeys(self._known)

    def unsent(self) -> list[Metadata]:
        """Return what is new, or has changed, since it was asked last."""
        found = [self._known[family] for family in self._unsent if family in self._known]
        self._unsent = {}
        return found


def requests_of(metadata: Iterable[Metadata], max_bytes: int) -> Iterator[bytes]:
    """Yield requests of version 1.0 with nothing but metadata, of at most `max_bytes` (or one family)."""
    parts: list[bytes] = []
    size = 0
    for one in metadata:
        body = b"\x08" + varint(one.type) if one.type else b""
        body += text_field(2, one.family) + text_field(4, one.help) + text_field(5, one.unit)
        message = b"\x1a" + varint(len(body)) + body
        if parts and size + len(message) > max_bytes:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(message)
        size += len(message)
    if parts:
        yield b"".join(parts)
