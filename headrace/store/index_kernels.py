# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of the index: finding and adding label sets, and their records in the log and in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_u32
from headrace.kernels.jit import kernel
from headrace.kernels.siphash_kernels import siphash128

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY = -1
BAD = -1

# Cells of the counts.
NEXT_REF = 0
PAIRS = 1
LIVE = 2


@kernel
def _slot(
    pairs: NDArray[np.int32], first: int, length: int, firsts: NDArray[np.int64], lengths: NDArray[np.uint16],
    stored: NDArray[np.int32], slots: NDArray[np.int32], k0: np.uint64, k1: np.uint64, raw: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Return the slot of the label set ``pairs[first:first + length]``, or ``-1 - slot`` of a free one."""
    mask = len(slots) - 1
    low, _ = siphash128(raw, 8 * first, 8 * length, k0, k1)
    slot = np.int64(low & np.uint64(mask))
    while slots[slot] != EMPTY:
        ref = slots[slot]
        if lengths[ref] == length:
            start = firsts[ref]
            same = True
            for i in range(length):
                if stored[start + i, 0] != pairs[first + i, 0] or stored[start + i, 1] != pairs[first + i, 1]:
                    same = False
                    break
            if same:
                return slot
        slot = (slot + 1) & mask
    return -1 - slot


@kernel
def assign(
    pairs: NDArray[np.int32], raw: NDArray[np.uint8], starts: NDArray[np.int32], wanted: NDArray[np.int32],
    firsts: NDArray[np.int64], lengths: NDArray[np.uint16], stored: NDArray[np.int32], slots: NDArray[np.int32],
    counts: NDArray[np.int64], k0: np.uint64, k1: np.uint64, out: NDArray[np.int32],
) -> None:  # fmt: skip
    """Find the refs of label sets, adding those that are new.

    Args:
        pairs: (k, 2) int32 symbols of names and values.
        raw: The same memory as uint8, with 16 readable bytes behind it.
        starts: (n + 1,) int32; label set i is ``pairs[starts[i]:starts[i + 1]]``.
        wanted: (n,) int32 refs that they have to get, which nobody has; empty to number on.
        firsts: int64 by ref, with room, and so the next.
        lengths: uint16 by ref.
        stored: (room, 2) int32; label set of ref r is ``stored[firsts[r]:firsts[r] + lengths[r]]``.
        slots: (power of two,) int32 refs by hash, EMPTY for free, at most half full.
        counts: (3,) int64: next ref, pairs stored, label sets; changed.
        k0: First word of the secret.
        k1: Second word of the secret.
        out: (n,) int32: refs.
    """
    for i in range(len(starts) - 1):
        first = np.int64(starts[i])
        length = np.int64(starts[i + 1]) - first
        slot = _slot(pairs, first, length, firsts, lengths, stored, slots, k0, k1, raw)
        if slot >= 0:
            out[i] = slots[slot]
            continue
        ref = counts[NEXT_REF] if len(wanted) == 0 else np.int64(wanted[i])
        start = counts[PAIRS]
        for j in range(length):
            stored[start + j, 0] = pairs[first + j, 0]
            stored[start + j, 1] = pairs[first + j, 1]
        firsts[ref] = start
        lengths[ref] = length
        slots[-1 - slot] = ref
        counts[NEXT_REF] = max(counts[NEXT_REF], ref + 1)
        counts[PAIRS] = start + length
        counts[LIVE] += 1
        out[i] = ref


@kernel
def rebuild(
    alive: NDArray[np.bool_], count: int, firsts: NDArray[np.int64], lengths: NDArray[np.uint16],
    raw: NDArray[np.uint8], slots: NDArray[np.int32], k0: np.uint64, k1: np.uint64,
) -> None:  # fmt: skip
    """Fill empty `slots` with the refs below `count` that are alive; `raw` are the stored pairs as uint8."""
    mask = len(slots) - 1
    for ref in range(count):
        if alive[ref]:
            low, _ = siphash128(raw, 8 * firsts[ref], 8 * np.int64(lengths[ref]), k0, k1)
            slot = np.int64(low & np.uint64(mask))
            while slots[slot] != EMPTY:
                slot = (slot + 1) & mask
            slots[slot] = ref


@kernel
def gather_pairs(
    refs: NDArray[np.int32], firsts: NDArray[np.int64], lengths: NDArray[np.uint16], stored: NDArray[np.int32],
    out: NDArray[np.int32], starts: NDArray[np.int32],
) -> None:  # fmt: skip
    """Copy the label sets of `refs`, one after the other."""
    at = 0
    starts[0] = 0
    for i in range(len(refs)):
        first = firsts[refs[i]]
        for j in range(lengths[refs[i]]):
            out[at, 0] = stored[first + j, 0]
            out[at, 1] = stored[first + j, 1]
            at += 1
        starts[i + 1] = at


@kernel
def _put_u32(out: NDArray[np.uint8], pos: int, value: int) -> int:
    for i in range(4):
        out[pos + i] = (value >> (8 * i)) & 255
    return pos + 4


@kernel
def encode(
    refs: NDArray[np.int32], pairs: NDArray[np.int32], starts: NDArray[np.int32],
    text: NDArray[np.uint8], bounds: NDArray[np.int64], out: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Write a series record; see docs/format/wal.md.

    Args:
        refs: (n,) int32.
        pairs: (k, 2) int32 symbols.
        starts: (n + 1,) int32; label set i is ``pairs[starts[i]:starts[i + 1]]``.
        text: uint8; symbol s is ``text[bounds[s]:bounds[s + 1]]``.
        bounds: int64.
        out: uint8 with room.

    Returns:
        Its bytes.
    """
    pos = _put_u32(out, 0, len(refs))
    for i in range(len(refs)):
        pos = _put_u32(out, pos, np.int64(refs[i]))
        length = np.int64(starts[i + 1]) - np.int64(starts[i])
        out[pos] = length & 255
        out[pos + 1] = length >> 8
        pos += 2
        for j in range(starts[i], starts[i + 1]):
            for c in range(2):
                start = bounds[pairs[j, c]]
                size = bounds[pairs[j, c] + 1] - start
                pos = _put_u32(out, pos, size)
                for k in range(size):
                    out[pos + k] = text[start + k]
                pos += size
    return pos


@kernel
def parse(
    buf: NDArray[np.uint8], end: int, refs: NDArray[np.int32], starts: NDArray[np.int32], spans: NDArray[np.int32]
) -> int:
    """Read a series record; see docs/format/wal.md.

    Args:
        buf: uint8, the record with 16 spare bytes.
        end: Its size.
        refs: (n,) int32 out; n is what the record says, which the caller has checked against its size.
        starts: (n + 1,) int32 out.
        spans: (room, 2) int32 out: names and values in turn; room for all that fit into the record.

    Returns:
        Number of spans, or BAD where the record ends early.
    """
    pos = 4
    found = 0
    starts[0] = 0
    for i in range(len(refs)):
        if pos + 6 > end:
            return BAD
        refs[i] = np.int32(load_u32(buf, pos))
        length = np.int64(buf[pos + 4]) | np.int64(buf[pos + 5]) << 8
        pos += 6
        for _ in range(2 * length):
            if pos + 4 > end:
                return BAD
            size = np.int64(load_u32(buf, pos))
            pos += 4
            if pos + size > end:
                return BAD
            spans[found, 0] = pos
            spans[found, 1] = size
            found += 1
            pos += size
        starts[i + 1] = found >> 1
    return found if pos == end else BAD
