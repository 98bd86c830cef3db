"""The first sight of series that come through remote write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headrace.exporters.store_refs import StoreRefs
from headrace.kernels.buffers import padded
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import Form, Kind, MetricType, Series
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.remote_write import RemoteWriteDecoder
from headrace.store.store import Store
from headrace.testing.batches import make_batch
from remote_write_messages import request_v1, request_v2

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Watched(SeriesTable):
    """A table that notes which series were made into Python objects."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def series(self, series_id: int) -> Series:
        self.asked.append(series_id)
        return super().series(series_id)


def first_sight(table: SeriesTable, store: Store, request: Any, *, v2: bool) -> NDArray[Any]:
    """Take a request's series to the store; return their refs."""
    data = request.SerializeToString()
    decoded = RemoteWriteDecoder(table, v2=v2).decode(padded(data), len(data), BatchContext())
    flat = PrometheusEdge(Drops(Counters(), "test")).flatten(decoded.batch).batch
    return StoreRefs(table, store.engine("default")).of(table, flat.series)


@pytest.mark.parametrize("v2", [False, True])
async def test_no_python_for_each_series(tmp_path: Path, *, v2: bool) -> None:
    """Two thousand new series, some of them twice: none becomes an object on the way, and each gets its labels."""
    store = Store(tmp_path)
    store.open()
    table = Watched()
    labels = [{"__name__": "m", "pod": f"p-{i % 1500}", "zone": "abc"[i % 3]} for i in range(2000)]
    request = (request_v2 if v2 else request_v1)([(one, [(1000 + i, 1.0)]) for i, one in enumerate(labels)])

    refs = first_sight(table, store, request, v2=v2)

    assert table.asked == []
    index = store.engine("default").index
    assert [dict(index.labels(ref)) for ref in refs.tolist()] == labels
    assert len(index) == 1500
    await store.close()


def test_other_sources_are_still_translated() -> None:
    """Series of OTLP sources are asked about one by one, those of Prometheus sources in the same batch are not."""
    table = Watched()
    renamed = Series(Series.of(__name__="a.b").labels, Form.OTLP, Kind(MetricType.GAUGE))
    batch = make_batch(["up", renamed, "down"], table=table)
    flat = PrometheusEdge(Drops(Counters(), "test")).flatten(batch).batch
    assert table.asked == [1]
    assert [table.series(i).name for i in flat.series.tolist()] == ["up", "a_b", "down"]
