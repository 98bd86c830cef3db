"""The dictionary of label names and values: texts by number, in one arena of UTF-8 bytes."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.buffers import padded
from headrace.kernels.growth import grown
from headrace.kernels.text_cache_kernels import CELLS, EMPTY
from headrace.store import symbols_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABSENT = -1
"""In a value column: the series does not have the label."""

_MAX_CACHED = 1 << 16
_MAX_FOUND = 1 << 12
_NOTHING = np.empty(0, np.uint8)


class Symbols:
    """An append-only dictionary of strings; the id of a string never changes.

    One thread adds; readers on other threads see all that was there when they began.
    """

    __slots__ = ("_bounds", "_cache", "_counts", "_found", "_secret", "_slots", "_text")

    def __init__(self) -> None:
        self._text = np.zeros(4096, np.uint8)
        self._bounds = np.zeros(256, np.int64)
        self._slots = np.full(512, kernels.EMPTY, np.int32)
        self._counts = np.zeros(1, np.int64)
        low, high = np.frombuffer(secrets.token_bytes(16), np.uint64)
        self._secret = (np.uint64(low), np.uint64(high))
        self._cache: dict[int, str] = {}
        self._found: dict[str, int] = {}

    def __len__(self) -> int:
        return int(self._counts[0])

    def intern(self, text: str) -> int:
        """Return the id of `text`, adding it where it is new."""
        data = padded(text.encode("utf-8", "surrogatepass"))
        return int(self.intern_spans(data, np.array([[0, len(data) - 16]], np.int32))[0])

    def intern_spans(self, buf: NDArray[np.uint8], spans: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the ids of many texts, adding the new ones.

        Args:
            buf: Bytes with PAD readable ones behind the last span.
            spans: (k, 2) int32: offset and size of each text.

        Returns:
            (k,) int32.
        """
        k = len(spans)
        n = len(self)
        self._bounds = grown(self._bounds, n + k + 1)
        self._text = grown(self._text, int(self._bounds[n]) + int(spans[:, 1].sum(dtype=np.int64)) + 16)
        if 2 * (n + k) > len(self._slots):
            slots = np.full(1 << (2 * (n + k)).bit_length(), kernels.EMPTY, np.int32)
            kernels.rebuild(self._text, self._bounds, n, slots, *self._secret)
            self._slots = slots
        out, cache = np.empty(k, np.int32), np.full(CELLS, EMPTY, np.int32)
        kernels.intern(buf, spans, self._text, self._bounds, self._slots, self._counts, *self._secret, cache, out)
        return out

    def find(self, text: str) -> int:
        """Return the id of `text`, or ABSENT."""
        known = self._found.get(text)
        if known is not None:
            return known
        data = padded(text.encode("utf-8", "surrogatepass"))
        slots = self._slots
        slot = kernels.find(data, 0, len(data) - 16, self._text, self._bounds, slots, *self._secret)
        if slot < 0:
            return ABSENT
        # Queries name the same labels and values again and again.
        if len(self._found) >= _MAX_FOUND:
            self._found = {}
        self._found[text] = found = int(slots[slot])
        return found

    def text(self, symbol: int) -> str:
        """Return the string with id `symbol`."""
        found = self._cache.get(symbol)
        if found is None:
            found = self.raw(symbol).decode("utf-8", "surrogatepass")
            if len(self._cache) >= _MAX_CACHED:
                self._cache = {}
            self._cache[symbol] = found
        return found

    def sorted_texts(self, symbols: NDArray[np.int32]) -> list[str]:
        """Return the strings of many symbols, (k,) int32, sorted by code point."""
        ids = symbols.tolist()
        found = list(map(self._cache.get, ids))
        texts = [self.text(i) if text is None else text for i, text in zip(ids, found, strict=True)]
        texts.sort()
        return texts

    def raw(self, symbol: int) -> bytes:
        """Return the UTF-8 bytes of symbol `symbol`."""
        start, end = self._bounds[symbol : symbol + 2].tolist()
        return self._text[start:end].tobytes()

    def raws(self, symbols: NDArray[np.int32]) -> list[bytes]:
        """Return the UTF-8 bytes of many symbols, (k,) int32 ascending: one copy, then slices of it."""
        if not len(symbols):
            return []
        places = symbols.astype(np.int64)
        starts, ends = self._bounds[places], self._bounds[places + 1]
        first = int(starts[0])
        data = self._text[first : int(ends[-1])].tobytes()
        return [data[a:b] for a, b in zip((starts - first).tolist(), (ends - first).tolist(), strict=True)]

    @property
    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Arena and bounds: symbol s is ``text[bounds[s]:bounds[s + 1]]``."""
        return self._text, self._bounds

    def affixed(
        self, symbols: NDArray[np.int32], prefix: bytes, inner: bytes, suffix: bytes, least: int
    ) -> NDArray[np.bool_]:
        """Return which symbols begin, end and contain as said; `least` is the fewest bytes of one that does."""
        out = np.empty(len(symbols), np.bool_)
        # Writable, so that all arrays are of one type and the kernel is compiled once.
        start, middle, end = (
            np.frombuffer(bytearray(part), np.uint8) if part else _NOTHING for part in (prefix, inner, suffix)
        )
        least = max(least, len(prefix) + len(suffix))
        kernels.affixed(self._text, self._bounds, symbols, start, middle, end, least, out)
        return out

    def gathered(self, symbols: NDArray[np.int32]) -> Symbols:
        """Return a dictionary of only these distinct symbols; the new id of ``symbols[i]`` is i."""
        other = Symbols()
        sizes = self._bounds[symbols.astype(np.int64) + 1] - self._bounds[symbols]
        other._text = np.zeros(int(sizes.sum()) + 64, np.uint8)
        other._bounds = np.zeros(len(symbols) + 2, np.int64)
        kernels.gather(self._text, self._bounds, symbols, other._text, other._bounds)
        other._counts[0] = len(symbols)
        other._slots = np.full(1 << (2 * len(symbols) + 16).bit_length(), kernels.EMPTY, np.int32)
        kernels.rebuild(other._text, other._bounds, len(symbols), other._slots, *other._secret)
        return other

    def memory_bytes(self) -> int:
        """Return the bytes that the dictionary takes."""
        used = int(self._bounds[len(self)])
        return used + 8 * len(self) + self._slots.nbytes
