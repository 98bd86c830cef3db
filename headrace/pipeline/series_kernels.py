# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of the series table: from label spans to symbols, from symbols to rows.

A label is a row of `spans`: name offset, name size, value offset, value size, in bytes of one buffer. Labels of
stream i are ``spans[starts[i]:starts[i + 1]]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import prefetch
from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.key_table_kernels import find
from headrace.kernels.siphash_kernels import siphash128
from headrace.kernels.text_cache_kernels import cell_of, is_same
from headrace.kernels.utf8_kernels import is_utf8

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAD = 6
"""Columns of a row's head: form, kind, unit, resource, scope, variant."""

NO_ROW = -1
"""A free slot."""

# Refusals, as `headrace.pipeline.series.Refusal` names them; a refused stream's id is -2 - code.
LIMIT = 0
NO_NAME = 1
DUPLICATE_LABEL = 2
INVALID_UTF8 = 3
TOO_MANY_LABELS = 4
LABEL_TOO_LONG = 5
EMPTY_LABEL_NAME = 6

_AHEAD = 12
"""Keys that a lookup is ahead of itself."""

_NAME = np.frombuffer(b"__name__", np.uint8).copy()


@kernel
def touch(seen: NDArray[np.int32], ids: NDArray[np.int32], now_s: int) -> None:
    """Note when series were seen; `seen` is by id."""
    for i in range(len(ids)):
        seen[ids[i]] = now_s


@kernel
def holds_form(heads: NDArray[np.int32], ids: NDArray[np.int32], form: int) -> bool:
    """Return whether one of some series is of a form; `heads` is (series, HEAD)."""
    for i in range(len(ids)):
        if heads[ids[i], 0] == form:
            return True
    return False


@kernel
def _compare(buf: NDArray[np.uint8], a: int, a_size: int, b: int, b_size: int) -> int:
    for i in range(min(a_size, b_size)):
        if buf[a + i] != buf[b + i]:
            return np.int64(buf[a + i]) - np.int64(buf[b + i])
    return np.int64(a_size) - np.int64(b_size)


@kernel
def _is_metric_name(buf: NDArray[np.uint8], pos: int, size: int) -> bool:
    if size != len(_NAME):
        return False
    for i in range(size):
        if buf[pos + i] != _NAME[i]:
            return False
    return True


@kernel
def _check_label(buf: NDArray[np.uint8], label: NDArray[np.int32], max_name: int, max_value: int) -> int:
    """Return 0, or minus one minus the refusal of one label."""
    if label[1] == 0:
        return -1 - EMPTY_LABEL_NAME
    if label[1] > max_name or label[3] > max_value:
        return -1 - LABEL_TOO_LONG
    if not is_utf8(buf, label[0], label[1]) or not is_utf8(buf, label[2], label[3]):
        return -1 - INVALID_UTF8
    return 0


@kernel
def canonicalise(
    buf: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    max_labels: int,
    max_name: int,
    max_value: int,
    lengths: NDArray[np.int32],
) -> None:
    """Sort the labels of each stream by name, drop empty values, and check the rest.

    Args:
        buf: uint8 with 8 readable bytes after every span; the caller has checked the spans against it.
        spans: (k, 4) int32; sorted and packed in place, stream by stream.
        starts: (n + 1,) int32.
        max_labels: Most labels a stream may have.
        max_name: Most bytes of a label name.
        max_value: Most bytes of a label value.
        lengths: (n,) int32 out: labels kept, or minus one minus a refusal.
    """
    for i in range(len(lengths)):
        first = starts[i]
        n = 0
        named = False
        status = 0
        for j in range(first, starts[i + 1]):
            if spans[j, 3] == 0 and spans[j, 1] > 0:
                continue
            status = _check_label(buf, spans[j], max_name, max_value)
            if status < 0:
                break
            if n == max_labels:
                status = -1 - TOO_MANY_LABELS
                break
            name = spans[j, 0]
            name_size = spans[j, 1]
            value = spans[j, 2]
            value_size = spans[j, 3]
            named = named or _is_metric_name(buf, name, name_size)
            k = first + n
            while k > first:
                order = _compare(buf, spans[k - 1, 0], spans[k - 1, 1], name, name_size)
                if order < 0:
                    break
                if order == 0:
                    status = -1 - DUPLICATE_LABEL
                    break
                for c in range(4):
                    spans[k, c] = spans[k - 1, c]
                k -= 1
            if status < 0:
                break
            spans[k, 0] = name
            spans[k, 1] = name_size
            spans[k, 2] = value
            spans[k, 3] = value_size
            n += 1
        if status == 0 and not named:
            status = -1 - NO_NAME
        lengths[i] = n if status == 0 else status


@kernel
def _intern_symbol(
    buf: NDArray[np.uint8],
    pos: int,
    size: int,
    text: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    symbol_keys: NDArray[np.uint64],
    symbol_numbers: NDArray[np.int32],
    counts: NDArray[np.int64],
    k0: np.uint64,
    k1: np.uint64,
) -> int:
    low, high = siphash128(buf, pos, size, k0, k1)
    slot = find(symbol_keys, symbol_numbers, low, high)
    if slot >= 0:
        return np.int64(symbol_numbers[slot])
    slot = -1 - slot
    symbol = counts[0]
    start = bounds[symbol]
    for i in range(size):
        text[start + i] = buf[pos + i]
    bounds[symbol + 1] = start + size
    symbol_keys[slot, 0] = low
    symbol_keys[slot, 1] = high
    symbol_numbers[slot] = symbol
    counts[0] = symbol + 1
    return symbol


@kernel
def intern_symbols(
    buf: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    lengths: NDArray[np.int32],
    text: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    symbol_keys: NDArray[np.uint64],
    symbol_numbers: NDArray[np.int32],
    counts: NDArray[np.int64],
    k0: np.uint64,
    k1: np.uint64,
    cache: NDArray[np.int32],
    pairs: NDArray[np.int32],
) -> None:
    """Replace names and values by symbols.

    Args:
        buf: Bytes that the spans point into, 8 readable ones behind each.
        spans: (k, 4) int32, as `canonicalise` left them.
        starts: (n + 1,) int32.
        lengths: (n,) int32 from `canonicalise`; streams with a negative one are skipped.
        text: uint8 arena of all symbols; the caller has made room for the worst case, here and below.
        bounds: int64; symbol s is ``text[bounds[s]:bounds[s + 1]]``.
        symbol_keys: Keys of the table from hashed bytes to symbol.
        symbol_numbers: Numbers of that table.
        counts: (1,) int64, number of symbols; changed.
        k0: Secret key, first word.
        k1: Secret key, second word.
        cache: (CELLS,) int32 of `headrace.kernels.text_cache_kernels`, EMPTY.
        pairs: (k, 2) int32 out, name and value symbol at the place of their span.
    """
    for i in range(len(lengths)):
        for j in range(starts[i], starts[i] + max(np.int32(0), lengths[i])):
            for side in range(2):
                pos = np.int64(spans[j, 2 * side])
                size = np.int64(spans[j, 2 * side + 1])
                cell = cell_of(buf, pos, size)
                symbol = np.int64(cache[cell])
                if not (
                    symbol >= 0
                    and bounds[symbol + 1] - bounds[symbol] == size
                    and is_same(buf, pos, text, bounds[symbol], size)
                ):
                    symbol = _intern_symbol(
                        buf, pos, size, text, bounds, symbol_keys, symbol_numbers, counts, k0, k1
                    )  # fmt: skip
                    cache[cell] = symbol
                pairs[j, side] = symbol


@kernel
def _row_hash(
    heads: NDArray[np.int32],
    head: int,
    pairs: NDArray[np.int32],
    first: int,
    length: int,
    scratch: NDArray[np.int32],
    k0: np.uint64,
    k1: np.uint64,
) -> int:
    for c in range(HEAD):
        scratch[c] = heads[head, c]
    for j in range(length):
        scratch[HEAD + 2 * j] = pairs[first + j, 0]
        scratch[HEAD + 2 * j + 1] = pairs[first + j, 1]
    low, _ = siphash128(scratch.view(np.uint8), 0, 4 * (HEAD + 2 * length), k0, k1)
    # 62 bits: the same number signed and unsigned.
    return np.int64(low >> np.uint64(2))


@kernel
def _is_row(
    heads: NDArray[np.int32],
    head: int,
    pairs: NDArray[np.int32],
    first: int,
    row_heads: NDArray[np.int32],
    row: int,
    row_pairs: NDArray[np.int32],
    row_first: int,
    length: int,
) -> bool:
    # Values first: neighbours differ in them.
    for j in range(length):
        if pairs[first + j, 1] != row_pairs[row_first + j, 1] or pairs[first + j, 0] != row_pairs[row_first + j, 0]:
            return False
    for c in range(HEAD):
        if heads[head, c] != row_heads[row, c]:
            return False
    return True


@kernel
def assign(
    heads: NDArray[np.int32],
    pairs: NDArray[np.int32],
    starts: NDArray[np.int32],
    lengths: NDArray[np.int32],
    limit: int,
    slots: NDArray[np.int32],
    free: NDArray[np.int32],
    counts: NDArray[np.int64],
    row_heads: NDArray[np.int32],
    row_first: NDArray[np.int64],
    row_length: NDArray[np.int32],
    row_pairs: NDArray[np.int32],
    scratch: NDArray[np.int32],
    k0: np.uint64,
    k1: np.uint64,
    out: NDArray[np.int32],
) -> None:
    """Find or make the row of each stream.

    Args:
        heads: (n, HEAD) int32, or (1, HEAD) when all streams share one head.
        pairs: (k, 2) int32 symbols from `intern_symbols`.
        starts: (n + 1,) int32.
        lengths: (n,) int32; negative ones become refusals in `out`.
        limit: Most live rows; a stream over it is refused with LIMIT.
        slots: (power of two,) int32 ids by hashed row, NO_ROW for free, at most half full; the caller has made room,
            here and below.
        free: int32 stack of ids to reuse; ``free[:counts[2]]`` are on it.
        counts: (4,) int64: ids ever made, pairs used, free ids, live rows; changed.
        row_heads: (capacity, HEAD) int32 of all rows.
        row_first: (capacity,) int64 place of a row in `row_pairs`.
        row_length: (capacity,) int32 labels of a row, -1 for an id that is not live.
        row_pairs: (capacity, 2) int32 of all rows.
        scratch: int32 with room for one row and its head, and 2 spare.
        k0: Secret key, first word.
        k1: Secret key, second word.
        out: (n,) int32 ids, or -2 - refusal.
    """
    mask = len(slots) - 1
    for i in range(len(lengths)):
        length = lengths[i]
        if length < 0:
            out[i] = -1 + length
            continue
        head = i if len(heads) > 1 else 0
        slot = _row_hash(heads, head, pairs, starts[i], length, scratch, k0, k1) & mask
        row = np.int64(slots[slot])
        while row != NO_ROW:
            if row_length[row] == length and _is_row(
                heads, head, pairs, starts[i], row_heads, row, row_pairs, row_first[row], length
            ):
                break
            slot = (slot + 1) & mask
            row = np.int64(slots[slot])
        if row != NO_ROW:
            out[i] = row
            continue
        if counts[3] >= limit:
            out[i] = -2 - LIMIT
            continue
        if counts[2] > 0:
            counts[2] -= 1
            row = np.int64(free[counts[2]])
        else:
            row = counts[0]
            counts[0] += 1
        slots[slot] = row
        for c in range(HEAD):
            row_heads[row, c] = heads[head, c]
        row_first[row] = counts[1]
        row_length[row] = length
        for j in range(length):
            row_pairs[counts[1] + j, 0] = pairs[starts[i] + j, 0]
            row_pairs[counts[1] + j, 1] = pairs[starts[i] + j, 1]
        counts[1] += length
        counts[3] += 1
        out[i] = row


@kernel
def place_rows(
    rows: int,
    row_heads: NDArray[np.int32],
    row_first: NDArray[np.int64],
    row_length: NDArray[np.int32],
    row_pairs: NDArray[np.int32],
    scratch: NDArray[np.int32],
    k0: np.uint64,
    k1: np.uint64,
    slots: NDArray[np.int32],
) -> None:
    """Put the live ones of the first `rows` rows into free `slots`; the other arguments are those of `assign`."""
    mask = len(slots) - 1
    for row in range(rows):
        if row_length[row] >= 0:
            slot = _row_hash(row_heads, row, row_pairs, row_first[row], row_length[row], scratch, k0, k1) & mask
            while slots[slot] != NO_ROW:
                slot = (slot + 1) & mask
            slots[slot] = row


@kernel
def resolve(
    keys: NDArray[np.uint64],
    known_keys: NDArray[np.uint64],
    known_numbers: NDArray[np.int32],
    refused_keys: NDArray[np.uint64],
    refused: NDArray[np.int8],
    last_seen: NDArray[np.int32],
    now: int,
    out: NDArray[np.int32],
) -> int:
    """Turn raw keys into ids and note that the ids were seen.

    Args:
        keys: (n, 2) uint64.
        known_keys: Keys of the table from raw key to id.
        known_numbers: Numbers of that table.
        refused_keys: (slots, 2) uint64, direct-mapped, slots a power of two.
        refused: (slots,) int8 refusal of each slot, -1 for none.
        last_seen: (capacity,) int32 by id, seconds of the table's clock.
        now: What to write there.
        out: (n,) int32: id, -1 for unknown, -2 - refusal for refused earlier.

    Returns:
        Number of keys without an id.
    """
    missing = 0
    mask = np.uint64(len(refused) - 1)
    slots = np.uint64(len(known_numbers) - 1)
    for i in range(len(keys)):
        if i + _AHEAD < len(keys):
            # The table does not fit into the caches: let several lookups wait for memory at once.
            ahead = np.int64(keys[i + _AHEAD, 0] & slots)
            prefetch(known_numbers, ahead)
            prefetch(known_keys, 2 * ahead)
        slot = find(known_keys, known_numbers, keys[i, 0], keys[i, 1])
        if slot >= 0:
            row = known_numbers[slot]
            out[i] = row
            last_seen[row] = now
            continue
        missing += 1
        cell = np.int64(keys[i, 0] & mask)
        if refused[cell] >= 0 and refused_keys[cell, 0] == keys[i, 0] and refused_keys[cell, 1] == keys[i, 1]:
            out[i] = -2 - refused[cell]
        else:
            out[i] = -1
    return missing


@kernel
def note_refused(
    keys: NDArray[np.uint64], ids: NDArray[np.int32], refused_keys: NDArray[np.uint64], refused: NDArray[np.int8]
) -> None:
    """Remember refused raw keys, newest first where two share a cell; ids at or above -1 are skipped."""
    mask = np.uint64(len(refused) - 1)
    for i in range(len(keys)):
        if ids[i] < -1:
            cell = np.int64(keys[i, 0] & mask)
            refused_keys[cell, 0] = keys[i, 0]
            refused_keys[cell, 1] = keys[i, 1]
            refused[cell] = -2 - ids[i]


@kernel
def pack_pairs(
    row_first: NDArray[np.int64],
    row_length: NDArray[np.int32],
    rows: int,
    row_pairs: NDArray[np.int32],
    to_pairs: NDArray[np.int32],
    to_symbols: NDArray[np.int32],
) -> int:
    """Copy the pairs of live rows together, renaming their symbols.

    Args:
        row_first: (capacity,) int64; changed to the new places.
        row_length: (capacity,) int32, negative for dead rows.
        rows: Number of ids ever made.
        row_pairs: (capacity, 2) int32 of all rows.
        to_pairs: (capacity, 2) int32 out.
        to_symbols: New symbol by old one; empty to keep them.

    Returns:
        Number of pairs copied.
    """
    used = 0
    for row in range(rows):
        first = row_first[row]
        row_first[row] = used
        for j in range(max(np.int32(0), row_length[row])):
            for side in range(2):
                symbol = row_pairs[first + j, side]
                to_pairs[used, side] = to_symbols[symbol] if len(to_symbols) > 0 else symbol
            used += 1
    return used
