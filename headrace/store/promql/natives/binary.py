"""Binary operators with native histograms, beside what `binary` makes of the numbers.

Histograms are added to and subtracted from each other, compared for equality, multiplied with and divided by numbers,
and trimmed to the observations below or above a number. What else is asked of them yields nothing but a remark.

Source:
    Prometheus 3.14, "Operators".
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.promql.natives import math_kernels as codes
from headrace.store.promql.natives import total_kernels as sums
from headrace.store.promql.natives.columns import Natives
from headrace.store.promql.natives.float_histograms import FloatHistograms
from headrace.store.promql.natives.math import combined, equal
from headrace.store.promql.natives.trimming import trimmed
from headrace.store.promql.natives.windows import COLLISION, RECONCILED
from headrace.store.promql.values import Scalar, Vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.promql.language.ast import Binary
    from headrace.store.promql.notes import Notes


TRIMS = frozenset({"</", ">/"})
"""Operators that trim."""


class _Operand(NamedTuple):
    values: NDArray[np.float64]
    numbers: NDArray[np.bool_]
    rows: NDArray[np.int64]
    histograms: FloatHistograms


def applies(op: str, lhs: Vector, rhs: Vector) -> NDArray[np.bool_]:
    """Return (n, steps) where an operator knows what to do with operands row by row, be it that nothing comes out."""
    numbers = lhs.present & rhs.present & (op not in TRIMS)
    if lhs.natives is None and rhs.natives is None:
        return numbers
    left, right = (_operand(side, side.values.shape) for side in (lhs, rhs))
    both = (left.rows >= 0) & (right.rows >= 0) & (op in {"+", "-", "==", "!="})
    if op in _NAMES and both.any():
        both &= left.histograms.custom[left.rows] == right.histograms.custom[right.rows]
    by_number = (left.rows >= 0) & right.numbers & (op in _BY_NUMBER)
    of_number = left.numbers & (right.rows >= 0) & (op == "*")
    return numbers | both | by_number | of_number


def with_natives(node: Binary, lhs: Vector | Scalar, rhs: Vector | Scalar, numbers: Vector, notes: Notes) -> Vector:
    """Add what an operator makes of histograms to what it makes of numbers.

    Args:
        node: The operator.
        lhs: Operand; both have the same shape, or one is a scalar.
        rhs: Operand.
        numbers: What the operator yields for numbers.
        notes: Takes annotations.
    """
    if not any(isinstance(side, Vector) and side.natives is not None for side in (lhs, rhs)):
        return numbers
    one, other = (_operand(side, numbers.values.shape) for side in (lhs, rhs))
    return _Operation(node, one, other, notes).outcome(numbers)


def _operand(side: Vector | Scalar, shape: tuple[int, ...]) -> _Operand:
    if isinstance(side, Scalar):
        everywhere = np.ones(shape, np.bool_)
        values = np.broadcast_to(side.values, shape)
        return _Operand(values, everywhere, np.full(shape, -1, np.int64), FloatHistograms.empty())
    if side.natives is None:
        return _Operand(side.values, side.present, np.full(shape, -1, np.int64), FloatHistograms.empty())
    return _Operand(side.values, side.present, side.natives.rows, side.natives.histograms)


class _Operation:
    """One operator between operands of the same shape.

    At each step, what is to be said of the last pair that has anything is what is said.
    """

    def __init__(self, node: Binary, lhs: _Operand, rhs: _Operand, notes: Notes) -> None:
        self._node = node
        self._lhs = lhs
        self._rhs = rhs
        self._notes = notes
        self._remarks: NDArray[np.int8] = np.zeros(lhs.rows.shape, np.int8)
        """(n, steps): what is to be said, by its place in _REMARKS; 0 for nothing."""

    def outcome(self, numbers: Vector) -> Vector:
        lhs, rhs = self._lhs, self._rhs
        kinds = (
            (_Remark.HISTOGRAMS, (lhs.rows >= 0) & (rhs.rows >= 0), self._of_two),
            (_Remark.HISTOGRAM_FLOAT, (lhs.rows >= 0) & rhs.numbers, self._by_number),
            (_Remark.FLOAT_HISTOGRAM, lhs.numbers & (rhs.rows >= 0), self._of_number),
        )
        values, present = numbers.values.copy(), numbers.present & lhs.numbers & rhs.numbers
        natives: list[Natives] = []
        if self._node.op in TRIMS:
            self._remarks[lhs.numbers & rhs.numbers] = _Remark.FLOATS
        for remark, where, compute in kinds:
            if not where.any():
                continue
            found = compute(where, values, present)
            if found is None:
                self._remarks[where] = remark
            else:
                natives.append(found)
        self._remark()
        return replace(numbers, values=values, present=present, natives=_together(natives))

    def _remark(self) -> None:
        remarks = self._remarks
        if not remarks.size:
            return
        rows, steps = remarks.shape
        last = rows - 1 - np.argmax(remarks[::-1] != 0, axis=0)
        for code in np.unique(remarks[last, np.arange(steps)]).tolist():
            op = self._node.op
            if code == _Remark.LAYOUTS:
                self._notes.warn(f"incompatible bucket layout encountered for binary operator {op}", self._node)
            elif code == _Remark.RESETS:
                self._notes.warn(f"{COLLISION} {_NAMES[op]}", self._node)
            elif code:
                left, right = _KINDS[code]
                text = f'incompatible sample types encountered for binary operator "{op}": {left} {op} {right}'
                self._notes.info(text, self._node)

    def _of_two(
        self, where: NDArray[np.bool_], values: NDArray[np.float64], present: NDArray[np.bool_]
    ) -> Natives | None:  # fmt: skip
        lhs, rhs, op = self._lhs, self._rhs, self._node.op
        left, right = lhs.rows[where], rhs.rows[where]
        if op in _NAMES:
            return self._sum(where, left, right)
        if op not in {"==", "!="}:
            return None
        holds = equal(lhs.histograms, left, rhs.histograms, right) == (op == "==")
        if not self._node.return_bool:
            return Natives.placed(where, np.where(holds, left, -1), lhs.histograms)
        values[where] = holds
        present |= where
        return Natives(np.full(where.shape, -1, np.int64), FloatHistograms.empty())

    def _sum(self, where: NDArray[np.bool_], left: NDArray[np.int64], right: NDArray[np.int64]) -> Natives:
        op = self._node.op
        found = combined(self._lhs.histograms, left, self._rhs.histograms, right, 1.0 if op == "+" else -1.0)
        resets = np.where(found.notes & sums.COLLISION, _Remark.RESETS, 0)
        self._remarks[where] = np.where(found.notes & codes.MIXED, _Remark.LAYOUTS, resets)
        if (found.notes & sums.RECONCILED).any():
            self._notes.info(f"{RECONCILED} {_NAMES[op]}", self._node)
        return Natives.placed(where, found.places, found.histograms)

    def _by_number(
        self, where: NDArray[np.bool_], _values: NDArray[np.float64], _present: NDArray[np.bool_]
    ) -> Natives | None:
        compute = _BY_NUMBER.get(self._node.op)
        if compute is None:
            return None
        histograms = self._lhs.histograms.take(self._lhs.rows[where])
        found = compute(histograms, self._rhs.values[where])
        return Natives.placed(where, np.arange(len(found)), found)

    def _of_number(
        self, where: NDArray[np.bool_], _values: NDArray[np.float64], _present: NDArray[np.bool_]
    ) -> Natives | None:
        if self._node.op != "*":
            return None
        found = self._rhs.histograms.take(self._rhs.rows[where]).scaled(self._lhs.values[where]).compact()
        return Natives.placed(where, np.arange(len(found)), found)


class _Remark(IntEnum):
    """What may be said of a pair."""

    HISTOGRAMS = 1
    HISTOGRAM_FLOAT = 2
    FLOAT_HISTOGRAM = 3
    LAYOUTS = 4
    RESETS = 5
    FLOATS = 6


_KINDS = {
    _Remark.HISTOGRAMS: ("histogram", "histogram"),
    _Remark.HISTOGRAM_FLOAT: ("histogram", "float"),
    _Remark.FLOAT_HISTOGRAM: ("float", "histogram"),
    _Remark.FLOATS: ("float", "float"),
}

_NAMES = {"+": "addition", "-": "subtraction"}

_BY_NUMBER: dict[str, Callable[[FloatHistograms, NDArray[np.float64]], FloatHistograms]] = {
    "*": lambda histograms, factors: histograms.scaled(factors).compact(),
    "/": lambda histograms, divisors: histograms.divided(divisors).compact(),
    "</": lambda histograms, limits: trimmed(histograms, limits, upper=True),
    ">/": lambda histograms, limits: trimmed(histograms, limits, upper=False),
}


def _together(parts: list[Natives]) -> Natives | None:
    """Put histograms at different places together."""
    if len(parts) < 2:
        return parts[0] if parts else None
    rows, before = np.full(parts[0].rows.shape, -1, np.int64), 0
    for part in parts:
        rows = np.where(part.present, part.rows + before, rows)
        before += len(part.histograms)
    return Natives(rows, FloatHistograms.joined([part.histograms for part in parts]))
