"""What holds for every processor whose state survives reload and restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.component import StatefulProcessor
from headrace.pipeline.identity import Series
from headrace.pipeline.series import SeriesTable
from headrace.testing.batches import make_batch, rows
from headrace.testing.processors import ProcessorContract

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

_LATER_NS = 1_700_000_000_000_000_000 + 3_600_000_000_000


class StatefulContract(ProcessorContract):
    """Subclass it beside `ProcessorContract`, for a processor with `snapshot` and `restore`."""

    def batches(self, table: SeriesTable) -> list[MetricBatch]:
        """Return batches that say something to the processor, the first of them before a restart."""
        names = ["a_total", "b_total", "c"]
        base = 1_700_000_000_000_000_000
        return [
            make_batch(names, table=table, time_ns=base + i, value=[10.0 + i, 20.0 + 2 * i, 3.0 - i]) for i in range(4)
        ]

    def stateful(self) -> StatefulProcessor:
        """Return a new processor."""
        processor = self.make()
        assert isinstance(processor, StatefulProcessor), "it has tick, snapshot and restore"
        return processor

    def test_a_restart_changes_nothing(self) -> None:
        """What is restored goes on as what was saved would have, whatever ids the table gives."""
        for restart_at in range(4):
            continued, restarted = self.stateful(), self.stateful()
            table, other = SeriesTable(), SeriesTable()
            found = []
            for number, batch in enumerate(self.batches(table)):
                if number == restart_at:
                    state = restarted.snapshot()
                    restarted, other = self.stateful(), SeriesTable()
                    other.intern([Series.of(__name__="filler")])
                    restarted.restore(state)
                again = self.batches(other)[number]
                found.append((_points(self.run(continued, batch)), _points(self.run(restarted, again))))
            found.append((_ticked(continued), _ticked(restarted)))
            assert [one for one, _ in found] == [two for _, two in found], f"restarted before batch {restart_at}"

    def test_a_state_nobody_has_asked_for_is_kept(self) -> None:
        """The state of a workspace that is not seen before the next restart is not lost."""
        first, second, third = (self.stateful() for _ in range(3))
        table, other = SeriesTable(), SeriesTable()
        given, again = self.batches(table), self.batches(other)
        self.run(first, given[0])
        second.restore(first.snapshot())
        third.restore(second.snapshot())
        assert _points(self.run(third, again[1])) == _points(self.run(first, given[1]))

    def test_garbage_is_refused(self) -> None:
        """With an error that the graph takes for one of the file."""
        for state in (b"", b"garbage", b"{}", bytes(64)):
            try:
                self.stateful().restore(state)
            except (ValueError, KeyError, TypeError):
                continue
            raise AssertionError(f"{state!r} was taken for a state")


def _ticked(processor: StatefulProcessor) -> list[str]:
    """Return the points of what is due an hour later."""
    return sorted(row for batch in processor.tick(_LATER_NS) for row in _points(batch))


def _points(batch: MetricBatch) -> list[str]:
    """Return all points as texts, so that NaN equals NaN."""
    found = [f"{row} {start}" for row, start in zip(rows(batch), batch.start_ns.tolist(), strict=True)]
    histograms = batch.histograms
    for i in range(0 if histograms is None else len(histograms)):
        assert histograms is not None
        first, end = histograms.starts[i : i + 2].tolist()
        series = batch.table.series(int(histograms.series[i]))
        numbers = [histograms.time_ns[i], histograms.start_ns[i], histograms.count[i], histograms.sum[i]]
        found.append(f"{series} {numbers} {histograms.counts[first:end].tolist()}")
    return found
