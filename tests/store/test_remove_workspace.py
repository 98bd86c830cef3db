"""A workspace that is removed is gone from blocks and log, also when the process dies halfway, and others stay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.pipeline.errors import StoreFailed
from headrace.store.engine import EngineOptions
from headrace.store.files import Files
from headrace.store.interfaces import MetadataRow, SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from pathlib import Path

START = 1_700_000_000_000
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)


def opened(directory: Path, files: Files | None = None) -> Store:
    options = StoreOptions(Sync.NEVER, 0, EngineOptions(block_ms=60_000, out_of_order_ms=30_000))
    store = Store(directory, options, files=files, clock_ms=lambda: START + 7_200_000)
    store.open()
    return store


async def fill(store: Store, workspace: str, secret: str) -> None:
    engine = store.engine(workspace)
    refs = engine.refs([(("__name__", "m"), ("who", secret))])
    for i in range(100):
        row = SeriesBatch(refs, np.array([START + i * 60_000], np.int64), np.array([float(i)]))
        assert (await engine.append(row)).accepted == 1
    await engine.update_metadata([MetadataRow("m", "gauge", secret, "")])


def count(store: Store, workspace: str) -> int:
    return len(store.engine(workspace).select(ALL, 0, 1 << 60).values)


def bytes_below(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def test_removed_from_blocks_and_log(tmp_path: Path) -> None:
    async def run() -> None:
        store = opened(tmp_path)
        await fill(store, "stays", "secret-of-stays")
        await fill(store, "goes", "secret-of-goes")
        store.flush()
        assert b"secret-of-goes" in bytes_below(tmp_path / "wal")
        assert list((tmp_path / "workspaces" / "goes").glob("*.block"))
        await store.remove("goes")
        await store.remove("goes")
        assert not (tmp_path / "workspaces" / "goes").exists()
        assert b"secret-of-goes" not in bytes_below(tmp_path)
        assert count(store, "stays") == 100
        assert sorted(store.engines) == ["stays"]
        await store.log.close()

    asyncio.run(run())
    store = opened(_copy_without_lock(tmp_path))
    assert sorted(store.engines) == ["stays"]
    assert count(store, "stays") == 100


class NoRemoval(Files):
    """A disk on which nothing can be deleted, as if the process had died before."""

    def remove_tree(self, path: Path) -> None:
        raise OSError(5, "cannot delete", str(path))


def test_a_crash_before_the_files_are_gone(tmp_path: Path) -> None:
    async def run() -> None:
        store = opened(tmp_path, NoRemoval())
        await fill(store, "stays", "a")
        await fill(store, "goes", "b")
        store.flush()
        with pytest.raises(StoreFailed, match="cannot delete"):
            await store.remove("goes")
        await store.log.close()

    asyncio.run(run())
    assert (tmp_path / "workspaces" / "goes").exists()
    store = opened(_copy_without_lock(tmp_path))
    assert sorted(store.engines) == ["stays"]
    assert count(store, "stays") == 100


def _copy_without_lock(directory: Path) -> Path:
    """Return a copy of a data directory whose process is taken for dead."""
    import shutil

    target = directory.with_name(f"{directory.name}-later")
    shutil.copytree(directory, target, ignore=shutil.ignore_patterns("lock"))
    return target
