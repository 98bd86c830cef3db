"""The form in which stateful processors save what they know: named arrays and a value for JSON, checked on reading.

Layout: the magic text, the length of a JSON header as a little-endian uint32, the CRC-32 of that and of all that
follows as another, the header, and the arrays' bytes one after the other. The header names type, version and, for each
part (a workspace), its value and the names, dtypes and shapes of its arrays.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAGIC = b"HRSTATE1"

_PREFIX = struct.Struct("<II")
_DTYPES = frozenset({"<i8", "<i4", "<f8", "<u8", "|u1", "|i1", "|b1"})


@dataclass(frozen=True, slots=True)
class Part:
    """What is saved of one workspace.

    Attributes:
        value: What JSON can say.
        arrays: The rest.
    """

    value: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def encode(kind: str, version: int, parts: Mapping[str, Part]) -> bytes:
    """Return parts by workspace as bytes.

    Args:
        kind: Type of the component.
        version: Of what the parts mean.
        parts: By workspace.
    """
    header: dict[str, Any] = {"type": kind, "version": version, "parts": {}}
    bodies: list[bytes] = []
    for name, part in parts.items():
        shapes = []
        for key, array in part.arrays.items():
            shapes.append([key, array.dtype.str, list(array.shape)])
            bodies.append(np.ascontiguousarray(array).tobytes())
        header["parts"][name] = {"value": part.value, "arrays": shapes}
    text = json.dumps(header).encode()
    body = b"".join([text, *bodies])
    return MAGIC + _PREFIX.pack(len(text), _check(len(text), body)) + body


def decode(kind: str, version: int, state: bytes) -> dict[str, Part]:
    """Invert `encode`.

    Raises:
        ValueError: It is not what `encode` made, or it is of another type or version.
    """
    start = len(MAGIC) + _PREFIX.size
    if state[: len(MAGIC)] != MAGIC or len(state) < start:
        raise ValueError("it is no state of a processor")
    size, check = _PREFIX.unpack_from(state, len(MAGIC))
    body = memoryview(state)[start:]
    if _check(size, body) != check or size > len(body):
        raise ValueError("it is damaged")
    header = json.loads(bytes(body[:size]))
    if header["type"] != kind or header["version"] != version:
        raise ValueError(
            f"it is of {header['type']} version {header['version']}, and {kind} reads its own version {version}"
        )
    position = size
    parts: dict[str, Part] = {}
    for name, one in header["parts"].items():
        arrays: dict[str, NDArray[Any]] = {}
        for key, dtype, shape in one["arrays"]:
            arrays[key], position = _array(body, position, dtype, shape)
        parts[name] = Part(one["value"], arrays)
    return parts


def _check(size: int, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(size.to_bytes(4, "little")))


def _array(body: memoryview, position: int, dtype: str, shape: list[int]) -> tuple[NDArray[Any], int]:
    if dtype not in _DTYPES or any(length < 0 for length in shape):
        raise ValueError("it has arrays of an unknown kind")
    end = position + math.prod(shape) * np.dtype(dtype).itemsize
    if end > len(body):
        raise ValueError("it is cut off")
    return np.frombuffer(body[position:end], dtype).reshape(shape).copy(), end
