"""Snapshots: a directory of hard links that is a data directory by itself."""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from headrace.store.block import Block
    from headrace.store.files import Files
    from headrace.store.manifest import Manifest
    from headrace.store.tombstones import Tombstones

DIRECTORY = "snapshots"
"""Where snapshots are, in the data directory."""


def snapshot_name(now_ms: int) -> str:
    """Return a name that no other snapshot has: the time, and 64 random bits."""
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}"


def write_workspace(
    target: Path, manifest: Manifest, blocks: Iterable[Block], tombstones: Tombstones, files: Files
) -> None:
    """Put a workspace into a snapshot, durable.

    Args:
        target: Directory of the workspace in the snapshot; does not exist.
        manifest: In force.
        blocks: Those that it names.
        tombstones: What was deleted.
        files: Does the writing.

    Raises:
        OSError: The disk refused.
    """
    target.mkdir(mode=0o700, parents=True)
    for block in blocks:
        _link(block.path, target / block.path.name, files)
    if len(tombstones):
        tombstones.write(files, target)
    manifest.write(files, target)
    files.sync_directory(target)


def _link(source: Path, target: Path, files: Files) -> None:
    """Link a file, or copy it where the file systems differ or know no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        fd = os.open(target, os.O_RDWR | os.O_CLOEXEC)
        try:
            files.sync(fd)
        finally:
            files.close(fd)
