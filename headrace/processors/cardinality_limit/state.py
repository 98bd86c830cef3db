"""What is saved of one workspace, checked on reading.

Nothing in it belongs to a series that was dropped, and the identities of the others are digests: its size and the time
that it takes go with the series within the limits, whatever a sender invents beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.pipeline.identity import Form, Kind, Series
from headrace.pipeline.streams.snapshots import Part
from headrace.processors.cardinality_limit.identity import DIGEST
from headrace.processors.cardinality_limit.limits import Tallies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

REMEMBERED_S = 3600.0
"""So long series that do not come again after a restart are remembered, of the time in which a daemon runs.

It is the time after which tables of series free those that are idle.
"""


@dataclass(frozen=True, slots=True)
class Generation:
    """Series that were admitted, of one run of the daemon.

    Attributes:
        age_s: How long it has been waited for them since.
        tallies: Their places.
        digests: (n, DIGEST) uint8.
    """

    age_s: float
    tallies: Tallies
    digests: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Members:
    """Folded series with a newest value.

    Attributes:
        digests: (n, DIGEST) uint8.
        last: (n,) float64 newest values.
        slot: (n,) int32 numbers of their overflow series.
        age_s: (n,) float64: how long it has been waited for them since a restart.
    """

    digests: NDArray[np.uint8]
    last: NDArray[np.float64]
    slot: NDArray[np.int32]
    age_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sums:
    """Overflow series.

    Attributes:
        series: Their n identities.
        total: (n,) float64.
        pending: (n,) int64 times of the points that wait.
        begun: (n,) bool: whether there was a point.
        age_s: (n,) float64: how long nothing has been added.
    """

    series: list[Series]
    total: NDArray[np.float64]
    pending: NDArray[np.int64]
    begun: NDArray[np.bool_]
    age_s: NDArray[np.float64]


_MEMBERS = {"last": "<f8", "slot": "<i4", "age_s": "<f8"}
_SUMS = {"total": "<f8", "pending": "<i8", "begun": "|b1", "age_s": "<f8"}


@dataclass(frozen=True, slots=True)
class Saved:
    """What is saved of one workspace."""

    kept: list[Generation]
    members: Members
    sums: Sums

    def older(self, by_s: float) -> Saved:
        """Return the same after some more waiting."""
        return Saved(
            [replace(one, age_s=one.age_s + by_s) for one in self.kept],
            replace(self.members, age_s=self.members.age_s + by_s),
            replace(self.sums, age_s=self.sums.age_s + by_s),
        )

    @property
    def is_over(self) -> bool:
        """Whether it has been waited long enough for all of it."""
        ages = [*(one.age_s for one in self.kept), self.sums.age_s.min(initial=np.inf)]
        return bool(min(ages) >= REMEMBERED_S)

    def part(self) -> Part:
        """Return it in the terms of snapshots."""
        arrays: dict[str, NDArray[Any]] = {f"kept.{i}": one.digests for i, one in enumerate(self.kept)}
        arrays["member.digest"] = self.members.digests
        arrays |= {f"member.{name}": getattr(self.members, name) for name in _MEMBERS}
        arrays |= {f"sum.{name}": getattr(self.sums, name) for name in _SUMS}
        value = {
            "kept": [{"age_s": one.age_s, **one.tallies.to_json()} for one in self.kept],
            "sums": [[one.labels, int(one.form), one.kind.pack(), one.unit] for one in self.sums.series],
        }
        return Part(value, arrays)

    @classmethod
    def of(cls, part: Part) -> Self:
        """Invert `part`.

        Raises:
            ValueError: It does not hold together.
        """
        try:
            return cls(*_read(part))
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"it does not hold together: {error!r}") from None


def _read(part: Part) -> tuple[list[Generation], Members, Sums]:
    value, arrays = part.value, part.arrays
    kept = [
        Generation(float(one["age_s"]), Tallies.from_json(one), _digests(arrays[f"kept.{i}"]))
        for i, one in enumerate(value["kept"])
    ]
    if any(one.tallies.total != len(one.digests) or not one.age_s >= 0 for one in kept):
        raise ValueError("its counts of series and its series do not agree")
    digests = _digests(arrays["member.digest"])
    members = Members(digests, **_columns(arrays, "member", _MEMBERS, len(digests)))
    series = [_series(*one) for one in value["sums"]]
    sums = Sums(series, **_columns(arrays, "sum", _SUMS, len(series)))
    if len(set(series)) < len(series):
        raise ValueError("it has an overflow series twice")
    if not (members.age_s >= 0).all() or not (sums.age_s >= 0).all():
        raise ValueError("it has an age that is none")
    if len(digests) and not 0 <= int(members.slot.min()) <= int(members.slot.max()) < len(series):
        raise ValueError("a folded series is of no overflow series")
    return kept, members, sums


def _digests(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != DIGEST:
        raise ValueError(f"its digests are {array.dtype} of shape {array.shape}")
    return array


def _columns(arrays: Mapping[str, NDArray[Any]], of: str, dtypes: Mapping[str, str], n: int) -> dict[str, NDArray[Any]]:
    columns = {}
    for name, dtype in dtypes.items():
        column = columns[name] = arrays[f"{of}.{name}"]
        if column.dtype != np.dtype(dtype) or column.shape != (n,):
            raise ValueError(f"its column {of}.{name} is {column.dtype} of shape {column.shape}, not of {n} rows")
    return columns


def _series(labels: list[list[str]], form: int, kind: int, unit: str) -> Series:
    return Series(tuple((str(name), str(value)) for name, value in labels), Form(form), Kind.unpack(kind), str(unit))
