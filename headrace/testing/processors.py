"""What holds for every processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.component import Deciding
from headrace.pipeline.identity import Series
from headrace.pipeline.series import SeriesTable
from headrace.testing.batches import make_batch, make_settings, with_native
from headrace.testing.components import FactoryContract

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import ColumnProcessor, ProcessorFactory


class ProcessorContract(FactoryContract):
    """Subclass it, set `factory`, and pytest runs the contract.

    Attributes:
        factory: The processor's.
        config: Keyword arguments of its configuration, where the defaults are not enough.
    """

    factory: ClassVar[ProcessorFactory[Any]]
    config: ClassVar[dict[str, Any]] = {}

    def make(self) -> ColumnProcessor:
        """Return a new processor; a series processor comes as the chain that runs it."""
        settings = make_settings(self.factory.name)
        processor = self.factory.create(settings, self.factory.config(**self.config))
        if hasattr(processor, "admit"):
            return SeriesChain([Stage(processor, settings.drops)])
        assert hasattr(processor, "process"), "a processor has `admit` or `process`"
        return processor  # type: ignore[no-any-return]  # has `process`, as just checked

    def run(self, processor: ColumnProcessor, batch: MetricBatch) -> MetricBatch:
        """Process as a pipeline does: decisions first."""
        if isinstance(processor, Deciding):
            ids = processor.undecided(batch)
            if len(ids):
                processor.decide(batch, ids)
        return processor.process(batch)

    def test_input_is_not_changed(self) -> None:
        """A processor never writes into the columns it gets."""
        batch = make_batch(["a", "b", "a"], value=[1.0, 2.0, 3.0])
        columns = (batch.series, batch.time_ns, batch.value, batch.flags)
        before = [column.tobytes() for column in columns]
        self.run(self.make(), batch)
        assert [column.tobytes() for column in columns] == before

    def test_empty_batch(self) -> None:
        """A batch without points passes."""
        assert len(self.run(self.make(), make_batch([]))) == 0

    def test_repeats_and_order(self) -> None:
        """Points of one series keep their order, repeats included."""
        batch = make_batch(["a"] * 4, time_ns=[5, 5, 7, 6], value=[1.0, 1.0, 2.0, 3.0])
        out = self.run(self.make(), batch)
        kept = list(zip(out.time_ns.tolist(), out.value.tolist(), strict=True))
        given = iter(zip(batch.time_ns.tolist(), batch.value.tolist(), strict=True))
        assert len(np.unique(out.series)) <= 1
        assert all(row in given for row in kept), "rows are reordered or made up"

    def test_stale_bits_survive(self) -> None:
        """The stale marker's bits are not changed by arithmetic."""
        batch = make_batch(["a"])
        batch.value.view(np.uint64)[0] = 0x7FF0000000000002
        out = self.run(self.make(), batch)
        assert out.value.view(np.uint64).tolist() in ([], [0x7FF0000000000002])

    def test_histograms_and_exemplars_go_with_their_series(self) -> None:
        """Native histograms and exemplars are passed on, renamed and dropped as the points of their series are."""
        names = ["a", "b", "a", "c"]
        points = make_batch(names, value=[1.0, 2.0, 3.0, 4.0])
        expected = self.run(self.make(), points)
        kept = sorted(zip(_names(expected), expected.value.tolist(), strict=True))
        # First with the points, then on their own, when the verdicts have to be made for them.
        for others in (names, []):
            batch = with_native(make_batch(others, value=[1.0, 2.0, 3.0, 4.0][: len(others)]), names)
            out = self.run(self.make(), batch)
            for found, column in ((out.native, "sum"), (out.exemplars, "value")):
                got = [] if found is None else getattr(found, column).tolist()
                ids = [] if found is None else found.series.tolist()
                assert sorted(zip([str(out.table.series(i)) for i in ids], got, strict=True)) == kept
            if out.native is not None:
                assert out.native.buckets.tolist() == out.native.count.tolist() == out.native.sum.tolist()

    def test_series_of_several_tables(self) -> None:
        """Ids of one workspace's table are not mistaken for those of another's."""
        processor = self.make()
        first, second = SeriesTable(), SeriesTable()
        second.intern([Series.of(__name__="filler")])
        alone = [self.run(self.make(), make_batch(["a", "b"], table=SeriesTable())) for _ in range(2)]
        names = [_names(self.run(processor, make_batch(["a", "b"], table=table))) for table in (first, second)]
        assert names == [_names(batch) for batch in alone]

    def test_freed_ids_are_forgotten(self) -> None:
        """After a series is freed, its id may mean another one, and the processor decides anew."""
        clock = 0.0
        table = SeriesTable(clock_s=lambda: clock)
        processor = self.make()
        self.run(processor, make_batch(["a", "b"], table=table))
        clock = 100.0
        for _ in range(3):
            table.collect(10)
        again = self.run(processor, make_batch(["b", "a"], table=table))
        assert _names(again) == _names(self.run(self.make(), make_batch(["b", "a"])))


def _names(batch: MetricBatch) -> list[str]:
    return [str(batch.table.series(i)) for i in batch.series.tolist()]
