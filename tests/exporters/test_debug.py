"""The ``debug`` exporter's lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headrace.exporters.debug import Verbosity, describe
from headrace.pipeline.native_histograms import NativeFlag
from headrace.testing.batches import make_batch, with_native


def test_native_histograms() -> None:
    """A line each; in detail with spans and counts, which are doubles where the row says so."""
    batch = with_native(make_batch([]), ["h"])
    assert batch.native is not None
    line = "h count=1 sum=1.0 schema=0 buckets=1 @1700000000"
    assert list(describe(batch, Verbosity.NORMAL))[1:] == [line]
    details = "zero=0@0.0 spans=[[1, 1]] positive=1 counts=[1] hint=unknown start=0 flags=0 type=unknown"
    assert list(describe(batch, Verbosity.DETAILED))[1:] == [f"{line} {details}"]
    bits = np.array([2.5]).view(np.uint64)
    floats = replace(batch.native, count=bits, buckets=bits, flags=np.array([NativeFlag.FLOAT_COUNTS], np.uint8))
    (found,) = list(describe(batch.with_columns(native=floats), Verbosity.DETAILED))[1:]
    assert "count=2.5 " in found
    assert "counts=[2.5]" in found
