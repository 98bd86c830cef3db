"""Formats of profiles: lines for flame graphs, speedscope's JSON and pprof's protobuf.

Source:
    Brendan Gregg, FlameGraph, "stackcollapse"; speedscope, "file-format-schema"; google/pprof, ``profile.proto``.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.extensions.profiler_sampling import Place, Profile


class ProfileFormat(NamedTuple):
    """How a profile is written."""

    type: str
    suffix: str
    write: Callable[[Profile], bytes]


def folded(profile: Profile) -> bytes:
    """Write a line for each stack: its places from the outermost on, and its weight in microseconds."""
    lines = []
    for stack, (_, weight_ns) in profile.stacks.items():
        names = ";".join(_label(place).replace(";", ":") for place in reversed(stack))
        lines.append(f"{names} {round(weight_ns / 1000)}\n")
    return "".join(sorted(lines)).encode()


def speedscope(profile: Profile) -> bytes:
    """Write the stacks with their weights as one profile."""
    frames: dict[Place, int] = {}
    samples = [[frames.setdefault(place, len(frames)) for place in reversed(stack)] for stack in profile.stacks]
    weights = [weight_ns for _, weight_ns in profile.stacks.values()]
    content: dict[str, Any] = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": "headrace",
        "exporter": "headrace",
        "shared": {"frames": [_frame(place) for place in frames]},
        "profiles": [
            {
                "type": "sampled", "name": profile.unit, "unit": "nanoseconds", "startValue": 0,
                "endValue": sum(weights), "samples": samples, "weights": weights,
            }
        ],
    }  # fmt: skip
    return json.dumps(content, separators=(",", ":")).encode()


def _frame(place: Place) -> dict[str, Any]:
    return {"name": place.function} | ({"file": place.file, "line": place.line} if place.file else {})


def _label(place: Place) -> str:
    return f"{place.function} ({place.file}:{place.line})" if place.file else place.function


def pprof(profile: Profile) -> bytes:
    """Write the message ``perftools.profiles.Profile``, compressed."""
    table = _Tables()
    sample_types = [_value_type(table, "samples", "count"), _value_type(table, profile.unit, "nanoseconds")]
    samples = [
        _packed(1, [table.location(place) for place in stack]) + _packed(2, counts)
        for stack, counts in profile.stacks.items()
    ]
    period_type = _value_type(table, profile.unit, "nanoseconds")
    parts = [_message(1, one) for one in sample_types]
    parts += [_message(2, one) for one in samples]
    parts += [_message(4, one) for one in table.locations.values()]
    parts += [_message(5, one) for one in table.functions.values()]
    parts += [_message(6, text.encode("utf-8", "replace")) for text in table.strings]
    parts += [_number(9, profile.started_ns), _number(10, round(profile.duration_s * 1e9))]
    parts += [_message(11, period_type), _number(12, round(profile.interval_s * 1e9))]
    return gzip.compress(b"".join(parts))


class _Tables:
    """Strings, functions and locations of a message, which are named by number; the empty string is number 0."""

    def __init__(self) -> None:
        self.strings: dict[str, int] = {"": 0}
        self.functions: dict[tuple[str, str], bytes] = {}
        self.locations: dict[Place, bytes] = {}
        self._function_ids: dict[tuple[str, str], int] = {}
        self._location_ids: dict[Place, int] = {}

    def string(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def function(self, place: Place) -> int:
        key = (place.function, place.file)
        known = self._function_ids.get(key)
        if known is None:
            known = self._function_ids[key] = len(self._function_ids) + 1
            name = self.string(place.function)
            names = _number(2, name) + _number(3, name)
            self.functions[key] = _number(1, known) + names + _number(4, self.string(place.file))
        return known

    def location(self, place: Place) -> int:
        known = self._location_ids.get(place)
        if known is None:
            known = self._location_ids[place] = len(self._location_ids) + 1
            line = _number(1, self.function(place)) + _number(2, place.line)
            self.locations[place] = _number(1, known) + _message(4, line)
        return known


def _value_type(table: _Tables, type_: str, unit: str) -> bytes:
    return _number(1, table.string(type_)) + _number(2, table.string(unit))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _message(field, b"".join(map(_varint, values)))


FORMATS = {
    "pprof": ProfileFormat("application/octet-stream", "pb.gz", pprof),
    "folded": ProfileFormat("text/plain; charset=utf-8", "folded", folded),
    "speedscope": ProfileFormat("application/json", "speedscope.json", speedscope),
}
"""What a profile may be asked for as."""
