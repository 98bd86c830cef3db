"""The ``meta.json`` of a Prometheus block, and where blocks are."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.errors import CorruptChunk, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

NAME = "meta.json"
_VERSION = 1
_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, slots=True)
class PrometheusMeta:
    """What a block says about itself.

    Attributes:
        ulid: Its id.
        min_ms: Oldest time.
        max_ms: One past the newest time.
        samples: Number of samples, 0 where it does not say.
        series: Number of series.
        chunks: Number of chunks.
    """

    ulid: str
    min_ms: int
    max_ms: int
    samples: int
    series: int
    chunks: int


def read(directory: Path) -> PrometheusMeta:
    """Read the meta file of a block directory.

    Raises:
        CorruptChunk: It is missing, damaged, or of a version that is not known here.
    """
    path = directory / NAME
    try:
        content = json.loads(path.read_bytes())
        version = content["version"]
        if version != _VERSION:
            raise CorruptChunk(f"{path}: version {version!r} is not known here")
        stats = content.get("stats") or {}
        ulid = str(content["ulid"])
        if not _ULID.fullmatch(ulid):
            raise CorruptChunk(f"{path}: {ulid!r} is no ULID")
        return PrometheusMeta(
            ulid,
            int(content["minTime"]),
            int(content["maxTime"]),
            int(stats.get("numSamples", 0)),
            int(stats.get("numSeries", 0)),
            int(stats.get("numChunks", 0)),
        )
    except OSError as error:
        raise CorruptChunk(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptChunk(f"{path}: {type(error).__name__}: {error}") from None


def find_blocks(directory: Path) -> list[Path]:
    """Return the block directories in `directory`, or itself where it is one, oldest first.

    Raises:
        InvalidInput: There are none.
    """
    if (directory / NAME).is_file():
        return [directory]
    found = sorted(path for path in directory.iterdir() if path.is_dir() and _ULID.fullmatch(path.name))
    if not found:
        raise InvalidInput(f"{directory}: there are no blocks of Prometheus (directories named by ULID) in it")
    return found


def has_head(directory: Path) -> bool:
    """Return whether a data directory of Prometheus holds samples that are in no block: in its log or its head."""
    wal = directory / "wal"
    return (wal.is_dir() and any(path.name.isdecimal() and path.stat().st_size for path in wal.iterdir())) or (
        (directory / "chunks_head").is_dir() and any((directory / "chunks_head").iterdir())
    )
