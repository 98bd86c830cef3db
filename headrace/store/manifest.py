"""The manifest of a workspace: what its data are made of. Replacing it is what makes a flush or a merge happen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import xxhash

from headrace.pipeline.errors import CorruptChunk, StoreFailed
from headrace.store.interfaces import MetadataRow

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.files import Files

VERSION = 2
NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a workspace's data are made of.

    Attributes:
        next_ref: Refs below it have been given out.
        valid_from: In-order samples before this time are in blocks; None before the first flush.
        blocks: Numbers of the blocks; files of other numbers are leftovers.
        next_block: The number that the next block gets.
        families: Metadata of metric families.
        imports: How many parts of an import are in blocks, by its key; -1 once all are.
    """

    next_ref: int = 0
    valid_from: int | None = None
    blocks: tuple[int, ...] = ()
    next_block: int = 1
    families: tuple[MetadataRow, ...] = field(default=())
    imports: dict[str, int] = field(default_factory=dict)

    def write(self, files: Files, directory: Path) -> None:
        """Put it in place, durable."""
        families = [list(row) for row in self.families]
        body = json.dumps({"version": VERSION, **asdict(self), "families": families})
        checksum = xxhash.xxh3_64_hexdigest(body.encode())
        text = f'{{"version": {VERSION}, "checksum": "{checksum}", "manifest": {body}}}\n'
        files.write_whole(directory / NAME, text.encode())


def read(directory: Path) -> Manifest | None:
    """Read the manifest of a workspace, None where there is none.

    Raises:
        CorruptChunk: It is damaged.
        StoreFailed: It is of a version that is not known here.
    """
    path = directory / NAME
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        version, body = content["version"], content["manifest"]
        # What is checksummed tells a later version from a damaged number.
        if version != VERSION and body.get("version") != VERSION:
            raise StoreFailed(f"{path}: version {version} is not known here")
        if version != VERSION:
            raise CorruptChunk(f"{path}: says that it is of version {version}, and is not")
        if xxhash.xxh3_64_hexdigest(json.dumps(body).encode()) != content["checksum"]:
            raise CorruptChunk(f"{path}: has another checksum")
        families = tuple(MetadataRow(*row) for row in body["families"])
        return Manifest(
            int(body["next_ref"]), body["valid_from"], tuple(body["blocks"]), int(body["next_block"]), families,
            dict(body.get("imports", {})),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptChunk(f"{path}: {error}") from None
