"""The fused chain of series processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import ExemplarColumns
from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.series import SeriesLimits, SeriesTable
from headrace.testing.batches import make_batch, rows, with_native

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.identity import Series


class Rule:
    """A series processor out of a function that counts its calls."""

    def __init__(self, decide: Callable[[Series], Series | None]) -> None:
        self._decide = decide
        self.calls = 0
        self.leaves_plain = False

    def admit(self, series: Series) -> Series | None:
        self.calls += 1
        return self._decide(series)


def run(chain: SeriesChain, batch: MetricBatch) -> MetricBatch:
    """Decide and process, as a pipeline does."""
    ids = chain.undecided(batch)
    if len(ids):
        chain.decide(batch, ids)
    return chain.process(batch)


def chain_of(*rules: Rule) -> tuple[SeriesChain, Drops]:
    """Make a chain whose stages share one drop counter."""
    drops = Drops(Counters(), "test")
    return SeriesChain([Stage(rule, drops, f"rule {i}") for i, rule in enumerate(rules)]), drops


def test_verdicts_are_made_once() -> None:
    """The second batch of the same series asks nobody, and gives the same answer."""
    rule = Rule(lambda s: None if s.name == "b" else s.set(env="x"))
    chain, drops = chain_of(rule)
    table = SeriesTable()
    expected = [('a{env="x"}', 1, 1.0), ('c{env="x"}', 3, 3.0)]
    for _ in range(3):
        batch = make_batch(["a", "b", "c"], table=table, time_ns=[1, 2, 3], value=[1.0, 2.0, 3.0])
        assert rows(run(chain, batch)) == expected
    assert rule.calls == 3
    assert drops.by_reason() == {"rule 0": 3}
    assert drops.samples[0] == ("rule 0", "b")


def test_nothing_to_do_is_not_copied() -> None:
    """A batch that every stage leaves alone is passed on as it is."""
    chain, _ = chain_of(Rule(lambda s: s), Rule(lambda s: s))
    batch = make_batch(["a", "b"])
    assert run(chain, batch) is batch


def test_stages_see_what_the_ones_before_made() -> None:
    """Fused stages run in order, and a drop is counted for the stage that dropped."""
    chain, drops = chain_of(Rule(lambda s: s.set(n=str(len(s.name)))), Rule(lambda s: None if s["n"] == "2" else s))
    batch = make_batch(["a", "bb", "ccc"])
    assert [name for name, _, _ in rows(run(chain, batch))] == ['a{n="1"}', 'ccc{n="3"}']
    assert drops.by_reason() == {"rule 1": 1}


def test_two_series_may_become_one() -> None:
    """Rows that a rule merges keep their order and are not deduplicated."""
    chain, _ = chain_of(Rule(lambda s: s.without("pod")))
    batch = make_batch([{"__name__": "m", "pod": "a"}, {"__name__": "m", "pod": "b"}], time_ns=[7, 7], value=[1.0, 2.0])
    assert rows(run(chain, batch)) == [("m", 7, 1.0), ("m", 7, 2.0)]


def test_a_result_over_the_limit_is_a_counted_drop() -> None:
    """Where the changed series finds no room in the table, its points are dropped with that reason."""
    chain, drops = chain_of(Rule(lambda s: s.set(extra="1")))
    table = SeriesTable(SeriesLimits(max_series=3))
    batch = make_batch(["a", "b"], table=table)
    assert len(run(chain, batch)) == 1
    assert drops.by_reason() == {"series_limit": 1}


def test_a_result_that_is_no_series_is_a_counted_drop() -> None:
    """A rule that takes the name away loses the series, with that reason."""
    chain, drops = chain_of(Rule(lambda s: s.without("__name__")))
    assert len(run(chain, make_batch(["a"]))) == 0
    assert drops.by_reason() == {"no_name": 1}


def test_freed_targets_are_decided_anew() -> None:
    """A verdict that leads to a freed series is forgotten, whoever was freed."""
    now = 0.0
    table = SeriesTable(clock_s=lambda: now)
    chain, _ = chain_of(Rule(lambda s: s.set(x="1")))
    for step in range(20):
        now = step * 10.0
        names = [f"m{step % 3}", f"m{step % 5}"]
        out = run(chain, make_batch(names, table=table))
        assert [name for name, _, _ in rows(out)] == [f'{name}{{x="1"}}' for name in names]
        table.collect(15)


def test_exemplars_follow_their_series() -> None:
    """Exemplars of a dropped series go with it, the others get the new id."""
    chain, _ = chain_of(Rule(lambda s: None if s.name == "a" else s.set(x="1")))
    batch = make_batch(["a", "b"])
    exemplars = ExemplarColumns(
        batch.series, np.zeros(2, np.int64), np.array([1.0, 2.0]), np.zeros(3, np.int32), np.zeros((0, 4), np.int32),
        np.zeros(0, np.uint8),
    )  # fmt: skip
    out = run(chain, batch.with_columns(exemplars=exemplars))
    assert out.exemplars is not None
    assert out.exemplars.value.tolist() == [2.0]
    assert str(out.table.series(int(out.exemplars.series[0]))) == 'b{x="1"}'


def test_who_leaves_plain_series_alone_is_not_asked_about_them() -> None:
    """A chain that says so passes series of Prometheus sources on unasked; one rule that does not is asked for all."""
    rule = Rule(lambda s: s.set(env="x"))
    rule.leaves_plain = True
    table = SeriesTable()
    batch = make_batch(["a", "b"], table=table)
    chain, _ = chain_of(rule)
    assert run(chain, batch) is batch
    assert rule.calls == 0

    chain, _ = chain_of(rule, Rule(lambda s: s))
    assert [name for name, *_ in rows(run(chain, batch))] == ['a{env="x"}', 'b{env="x"}']
    assert rule.calls == 2


def test_native_histograms_follow_their_series() -> None:
    """Those of a dropped series are counted like points, the others get the new id; the rest of a batch is shared."""
    chain, drops = chain_of(Rule(lambda s: None if s.name == "a" else s.set(x="1") if s.name == "b" else s))
    table = SeriesTable()
    out = run(chain, with_native(make_batch([], table=table), ["a", "b", "a", "c"]))
    assert out.native is not None
    assert [
        (str(table.series(i)), total) for i, total in zip(out.native.series.tolist(), out.native.sum, strict=True)
    ] == [
        ('b{x="1"}', 2.0),
        ("c", 4.0),
    ]
    assert out.native.buckets.tolist() == [2, 4]
    assert drops.by_reason() == {"rule 0": 2}
    assert drops.samples[-1] == ("rule 0", "a")
    untouched = with_native(make_batch(["c"], table=table), ["c"])
    assert run(chain, untouched) is untouched
    assert run(chain, with_native(make_batch([], table=table), ["a"])).is_empty
