"""SipHash of many byte ranges at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.kernels import siphash_kernels
from headrace.kernels.buffers import padded


@given(st.lists(st.binary(max_size=40), max_size=7))
def test_rows_are_hashed_as_one_by_one(texts: list[bytes]) -> None:
    """Two at a time or alone: the same hashes."""
    buf = padded(b"".join(texts))
    sizes = np.array([len(text) for text in texts], np.int32)
    places = (np.cumsum(sizes) - sizes).astype(np.int32)
    k0, k1 = np.uint64(0x0706050403020100), np.uint64(0x0F0E0D0C0B0A0908)
    out = np.empty((len(texts), 2), np.uint64)
    siphash_kernels.siphash128_rows(buf, places, sizes, k0, k1, out)
    for i, (place, size) in enumerate(zip(places.tolist(), sizes.tolist(), strict=True)):
        assert tuple(out[i].tolist()) == tuple(map(int, siphash_kernels.siphash128(buf, place, size, k0, k1)))
