# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of the dictionary of label names and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import kernel
from headrace.kernels.siphash_kernels import siphash128
from headrace.kernels.text_cache_kernels import cell_of, is_same

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY = -1


@kernel
def find(
    buf: NDArray[np.uint8], pos: int, size: int,
    text: NDArray[np.uint8], bounds: NDArray[np.int64], slots: NDArray[np.int32], k0: np.uint64, k1: np.uint64,
) -> int:  # fmt: skip
    """Return the slot of the symbol ``buf[pos:pos + size]``, or ``-1 - slot`` of the free slot where it belongs.

    Args:
        buf: uint8 with 16 readable bytes behind the symbol.
        pos: Where it begins.
        size: Its bytes.
        text: uint8; symbol s is ``text[bounds[s]:bounds[s + 1]]``.
        bounds: int64.
        slots: (power of two,) int32 symbols by hash, EMPTY for free, at most half full.
        k0: First word of the secret.
        k1: Second word of the secret.
    """
    mask = len(slots) - 1
    low, _ = siphash128(buf, pos, size, k0, k1)
    slot = np.int64(low & np.uint64(mask))
    while slots[slot] != EMPTY:
        symbol = slots[slot]
        start = bounds[symbol]
        if bounds[symbol + 1] - start == size and is_same(buf, pos, text, start, size):
            return slot
        slot = (slot + 1) & mask
    return -1 - slot


@kernel
def intern(
    buf: NDArray[np.uint8], spans: NDArray[np.int32], text: NDArray[np.uint8], bounds: NDArray[np.int64],
    slots: NDArray[np.int32], counts: NDArray[np.int64], k0: np.uint64, k1: np.uint64, cache: NDArray[np.int32],
    out: NDArray[np.int32],
) -> None:  # fmt: skip
    """Replace texts by symbols, adding the new ones.

    Args:
        buf: Bytes that the spans point into, 16 readable ones behind the last.
        spans: (k, 2) int32: offset and size of each text.
        text: uint8 with room for all texts, and so the next two.
        bounds: int64.
        slots: int32.
        counts: (1,) int64: symbols; changed.
        k0: First word of the secret.
        k1: Second word of the secret.
        cache: (CELLS,) int32 of `headrace.kernels.text_cache_kernels`, EMPTY.
        out: (k,) int32.
    """
    for j in range(len(spans)):
        pos = np.int64(spans[j, 0])
        size = np.int64(spans[j, 1])
        cell = cell_of(buf, pos, size)
        recent = np.int64(cache[cell])
        if (
            recent >= 0
            and bounds[recent + 1] - bounds[recent] == size
            and is_same(buf, pos, text, bounds[recent], size)
        ):
            out[j] = recent
            continue
        slot = find(buf, pos, size, text, bounds, slots, k0, k1)
        if slot >= 0:
            out[j] = slots[slot]
            cache[cell] = slots[slot]
            continue
        symbol = counts[0]
        cache[cell] = symbol
        start = bounds[symbol]
        for i in range(size):
            text[start + i] = buf[pos + i]
        bounds[symbol + 1] = start + size
        slots[-1 - slot] = symbol
        counts[0] = symbol + 1
        out[j] = symbol


@kernel
def rebuild(
    text: NDArray[np.uint8], bounds: NDArray[np.int64], count: int, slots: NDArray[np.int32],
    k0: np.uint64, k1: np.uint64,
) -> None:  # fmt: skip
    """Fill empty `slots` with `count` distinct symbols."""
    mask = len(slots) - 1
    for symbol in range(count):
        low, _ = siphash128(text, bounds[symbol], bounds[symbol + 1] - bounds[symbol], k0, k1)
        slot = np.int64(low & np.uint64(mask))
        while slots[slot] != EMPTY:
            slot = (slot + 1) & mask
        slots[slot] = symbol


@kernel
def affixed(
    text: NDArray[np.uint8], bounds: NDArray[np.int64], symbols: NDArray[np.int32],
    prefix: NDArray[np.uint8], inner: NDArray[np.uint8], suffix: NDArray[np.uint8], least: int,
    out: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Note which symbols begin with `prefix`, end with `suffix` and hold `inner` in between.

    Args:
        text: uint8; symbol s is ``text[bounds[s]:bounds[s + 1]]``.
        bounds: int64.
        symbols: (k,) int32.
        prefix: uint8, may be empty, and so the next two.
        inner: uint8.
        suffix: uint8.
        least: Fewest bytes of a symbol.
        out: (k,) bool out.
    """
    for i in range(len(symbols)):
        start = bounds[symbols[i]]
        end = bounds[symbols[i] + 1]
        out[i] = (
            end - start >= least
            and _is_at(text, start, prefix)
            and _is_at(text, end - len(suffix), suffix)
            and _is_within(text, start + len(prefix), end - len(suffix), inner)
        )


@kernel
def _is_at(text: NDArray[np.uint8], pos: int, wanted: NDArray[np.uint8]) -> bool:
    for i in range(len(wanted)):
        if text[pos + i] != wanted[i]:
            return False
    return True


@kernel
def _is_within(text: NDArray[np.uint8], start: int, end: int, wanted: NDArray[np.uint8]) -> bool:
    if len(wanted) == 0:
        return True
    for pos in range(start, end - len(wanted) + 1):
        if text[pos] == wanted[0] and _is_at(text, pos, wanted):
            return True
    return False


@kernel
def gather(
    text: NDArray[np.uint8], bounds: NDArray[np.int64], symbols: NDArray[np.int32],
    out_text: NDArray[np.uint8], out_bounds: NDArray[np.int64],
) -> None:  # fmt: skip
    """Copy some symbols; symbol i of the copy is ``symbols[i]``."""
    at = np.int64(0)
    out_bounds[0] = 0
    for i in range(len(symbols)):
        start = bounds[symbols[i]]
        size = bounds[symbols[i] + 1] - start
        for j in range(size):
            out_text[at + j] = text[start + j]
        at += size
        out_bounds[i + 1] = at
