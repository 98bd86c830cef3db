"""The body of a request that is sent, however long, without copies and without making others wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import payload

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

_PIECE_BYTES = 256 * 1024
"""What is written before the network is waited for: the transport takes copies of what the network does not take."""


class Body(payload.Payload):
    """Bytes in memory.

    Args:
        data: The bytes; a view of them is enough.
    """

    _autoclose = True

    def __init__(self, data: bytes | memoryview) -> None:
        super().__init__(data)
        self._size = len(data)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the bytes as text."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the bytes, piece by piece."""
        view = memoryview(self._value)
        for first in range(0, len(view), _PIECE_BYTES):
            await writer.write(view[first : first + _PIECE_BYTES])
