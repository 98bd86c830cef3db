"""Files of the store as they were once written: the code still writes and reads them, and the pages describe them."""

from __future__ import annotations

import itertools
import json
import shutil
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xxhash

import golden_store
import plain_formats
from golden_store import GOLDEN, LABELS, START
from headrace.store import manifest, records
from headrace.store.block import Block
from headrace.store.codec.chunk_kernels import decode
from headrace.store.codec.scratch import scratch
from headrace.store.index import decode_series
from headrace.store.log import WriteAheadLog
from headrace.store.tombstones import Tombstones

if TYPE_CHECKING:
    from pathlib import Path


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def test_the_writers_still_make_these_bytes() -> None:
    """To the byte; of a block, what is compressed is compared as it is read; a manifest may have more keys.

    After a deliberate change: ``python tests/support/golden_store.py``, and the page in docs/format.
    """
    made = golden_store.made()
    assert sorted(made) == sorted(path.name for path in GOLDEN.iterdir())
    for name in ("segment.bin", "chunks.bin", "tombstones.bin"):
        assert made[name] == golden(name), name
    new, old = (json.loads(data) for data in (made["manifest.bin"], golden("manifest.bin")))
    assert {key: new["manifest"].get(key) for key in old["manifest"]} == old["manifest"]
    assert (list(new), new["version"]) == (list(old), old["version"])
    assert xxhash.xxh3_64_hexdigest(json.dumps(new["manifest"]).encode()) == new["checksum"]
    now, then = (plain_formats.sections(data) for data in (made["block.bin"], golden("block.bin")))
    assert list(now) == list(then)
    for kind, (_, compression, content) in then.items():
        assert now[kind][1:] == (compression, content), f"section {kind}"
    assert made["block.bin"][:64] == golden("block.bin")[:64]


def expected_rows() -> dict[int, list[plain_formats.Row]]:
    samples = golden_store.samples()
    bits = samples.values.view(np.uint64).tolist()
    times = samples.times_ms.tolist()
    bounds = samples.offsets.tolist()
    return {ref: list(zip(times[a:b], bits[a:b], strict=True)) for ref, (a, b) in enumerate(itertools.pairwise(bounds))}


def test_a_segment(tmp_path: Path) -> None:
    """By the log, and by the page."""
    shutil.copy(GOLDEN / "segment.bin", tmp_path / "00000001.wal")
    wanted = [(kind, workspace, bytes(payload)) for kind, workspace, payload in golden_store.log_records()]
    assert [(r.kind, r.workspace, bytes(r.payload)) for _, r in WriteAheadLog(tmp_path).read()] == wanted
    found = plain_formats.segment(golden("segment.bin"))
    assert found == wanted
    series, metadata, samples, late, deleted, _ = (payload for _, _, payload in found)
    assert plain_formats.series_record(series) == {ref: dict(labels) for ref, labels in enumerate(LABELS)}
    assert decode_series(series)[0].tolist() == [0, 1, 2]
    assert records.decode_metadata(metadata) == golden_store.FAMILIES
    assert [(ref, time - START) for ref, time, _ in plain_formats.samples_record(samples)] == [(0, 0), (1, -5), (2, 7)]
    assert plain_formats.samples_record(late)[1][:2] == (1, 5)
    for payload in (samples, late):
        batch = records.decode_samples(payload)
        rows = zip(batch.refs.tolist(), batch.times_ms.tolist(), batch.values.view(np.uint64).tolist(), strict=True)
        assert plain_formats.samples_record(payload) == list(rows)
    assert plain_formats.tombstone_rows(deleted)[0] == (START, START + 60_000, 7, [0, 2])


def test_a_block(tmp_path: Path) -> None:
    """By the store, and by the page."""
    path = tmp_path / "00000004.block"
    shutil.copy(GOLDEN / "block.bin", path)
    block = Block(path)
    block.verify()
    assert (block.meta.level, block.meta.sources, block.meta.samples) == (1, (2, 3), 2100)
    runs = block.read(block.refs, 0, 1 << 60)
    bits, times = runs.values.view(np.uint64).tolist(), runs.times_ms.tolist()
    spans = [(int(a), int(a + n)) for a, n in zip(runs.places, runs.counts, strict=True)]
    assert {ref: list(zip(times[a:b], bits[a:b], strict=True)) for ref, (a, b) in enumerate(spans)} == expected_rows()
    meta, rows, series = plain_formats.block(golden("block.bin"))
    assert rows == expected_rows()
    assert series == {ref: dict(labels) for ref, labels in enumerate(LABELS)}
    assert meta["samples"] == 2100


@pytest.mark.parametrize(("number", "name"), list(enumerate(golden_store.chunks())))
def test_chunks(number: int, name: str) -> None:
    """By the kernels, and by the page."""
    data, at = golden("chunks.bin"), 0
    for _ in range(number):
        at += 4 + struct.unpack_from("<I", data, at)[0]
    (size,) = struct.unpack_from("<I", data, at)
    raw = data[at + 4 : at + 4 + size]
    times, values = golden_store.chunks()[name]
    wanted = list(zip(times, values.view(np.uint64).tolist(), strict=True))
    assert plain_formats.chunk(raw) == wanted
    out = np.empty(len(times), np.int64), np.empty(len(times))
    buf = np.frombuffer(raw + bytes(16), np.uint8)
    assert decode(buf, 0, size, len(times), *out, 0, scratch()) == len(times)
    assert list(zip(out[0].tolist(), out[1].view(np.uint64).tolist(), strict=True)) == wanted


def test_all_forms_occur() -> None:
    """The chunks bring out every form of columns, so that the files say something about each."""
    data, at, modes = golden("chunks.bin"), 0, set()
    plain_formats.FORMS.clear()
    plain_formats.TRANSFORMS.clear()
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        reader = plain_formats.Reader(data[at + 4 : at + 4 + size])
        count = len(plain_formats.times(reader))
        modes.add(reader.data[reader.at])
        plain_formats.values(reader, count)
        at += 4 + size
    assert {32, 33, 34, 35} <= modes
    assert any(0 < mode < 23 for mode in modes)
    assert any(mode & 128 for mode in modes)
    assert {0, 1, 2, 3} == plain_formats.FORMS
    assert {0, 1, 2, 4, 6} <= plain_formats.TRANSFORMS


def test_manifest_and_tombstones(tmp_path: Path) -> None:
    """By the store, and by the page."""
    (tmp_path / "manifest.json").write_bytes(golden("manifest.bin"))
    (tmp_path / "tombstones").write_bytes(golden("tombstones.bin"))
    assert manifest.read(tmp_path) == golden_store.MANIFEST
    content = json.loads(golden("manifest.bin"))
    assert (content["version"], content["manifest"]["blocks"]) == (2, [4, 7, 8])
    assert all(row in golden_store.TOMBSTONES for row in Tombstones.read(tmp_path).rows)
    assert golden("tombstones.bin")[:8] == b"HRTMB\0\1\0"
    assert plain_formats.tombstone_rows(golden("tombstones.bin")[20:])[1] == (-(1 << 63), (1 << 63) - 1, 9, [1])
