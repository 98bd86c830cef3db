"""Bodies that are damaged, and bodies that want to become much more than they are."""

from __future__ import annotations

import os
import random
import tracemalloc

import pytest

import otlp_model as model
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.http.compression import compressor
from headrace.pipeline.http.decompression import ALGORITHMS, decompress

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))


def packed(data: bytes, encoding: str) -> bytes:
    compress = compressor(encoding)
    assert compress is not None
    return compress(data)


@pytest.mark.parametrize("encoding", ALGORITHMS)
def test_bombs_take_no_memory(encoding: str) -> None:
    """What would be longer than the limit is refused before it is made."""
    bomb = packed(bytes(64 << 20), encoding)
    tracemalloc.start()
    with pytest.raises(TooLarge):
        decompress(bomb, encoding, 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("encoding", ["gzip", "zlib", "deflate", "zstd"])
def test_streams_one_after_the_other(encoding: str) -> None:
    """They are one body; so many empty ones that undoing them would take minutes are refused."""
    assert decompress(packed(b"ab", encoding) * 500, encoding, 1000) == b"ab" * 500
    with pytest.raises(InvalidInput, match="more than 1000 streams"):
        decompress(packed(b"", encoding) * 1001, encoding, 1000)


@pytest.mark.fuzz
@pytest.mark.parametrize("encoding", ALGORITHMS)
def test_damage(encoding: str) -> None:
    """It is an error, or bytes up to the limit; never anything else."""
    for seed in range(RUNS):
        rng = random.Random(seed)
        data = model.mutated(packed(rng.randbytes(rng.randrange(1, 200)) * 4, encoding), rng)
        try:
            assert len(decompress(data, encoding, 1000)) <= 1000
        except InvalidInput:
            continue
