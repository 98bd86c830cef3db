"""What a limiter knows after a restart, for how long, and what that costs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.pipeline.batch import STALE_BITS, BatchContext
from headrace.pipeline.counters import Counters
from headrace.pipeline.identity import Form, Kind, MetricType, Scope, Series
from headrace.pipeline.series import SeriesLimits, SeriesTable
from headrace.pipeline.streams.snapshots import Part, decode, encode
from headrace.processors.cardinality_limit import FACTORY
from headrace.processors.cardinality_limit.identity import digest
from headrace.processors.cardinality_limit.memory import Digests
from headrace.testing.batches import make_batch, make_settings, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HOUR_S = 3600.0
S = 1_000_000_000
OVER = '{otel_metric_overflow="true"}'


class Daemon:
    """A limiter that can be restarted, with a clock that starts anew then."""

    def __init__(self, limits: SeriesLimits | None = None, **config: Any) -> None:
        self.config = config
        self.counters = Counters()
        self._limits = limits
        self._starts = 0
        self._start()

    def _start(self) -> None:
        self._starts += 1
        self.now_s = 1000.0 * self._starts
        settings = make_settings("cardinality_limit", counters=self.counters, monotonic_s=lambda: self.now_s)
        self.limiter = FACTORY.create(settings, FACTORY.config(**self.config))
        self.table = SeriesTable(self._limits, clock_s=lambda: self.now_s)

    def restart(self, **config: Any) -> bytes:
        """Save, start anew, restore; return the state."""
        state: bytes = self.limiter.snapshot()
        self.config |= config
        self._start()
        self.limiter.restore(state)
        return state

    def wait(self, seconds: float) -> list[tuple[str, int, float]]:
        """Let time pass; return the points that are due then."""
        self.now_s += seconds
        return [row for batch in self.limiter.tick(0) for row in rows(batch)]

    def send(self, time_s: int = 1, **values: float) -> list[str]:
        """Send one point of each of some metrics; return the names of what passes."""
        return [name for name, _, _ in self.points(time_s, list(values.items()))]

    def points(self, time_s: int, points: Iterable[tuple[Any, float]]) -> list[tuple[str, int, float]]:
        """Send points; return what passes, with times in seconds."""
        series, values = zip(*points, strict=True)
        batch = make_batch(series, table=self.table, time_ns=time_s * S, value=values)
        batch.value.view(np.uint64)[batch.value == -99] = STALE_BITS
        return [(name, at // S, value) for name, at, value in rows(self.limiter.process(batch))]

    def many(self, metric: str, ids: Iterable[int]) -> int:
        """Send series of a metric; return how many pass."""
        return len(self.points(1, [({"__name__": metric, "i": str(i)}, 1.0) for i in ids]))


# -- size and time -------------------------------------------------------------------------------------------


@pytest.mark.large
def test_dropped_series_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand of them are not in the state, and no identity is made to write it."""
    daemon = Daemon(max_series_per_metric=500)
    assert daemon.many("m", range(100_000)) == 500
    monkeypatch.setattr(SeriesTable, "series", lambda *_: pytest.fail("an identity is made"))
    assert len(daemon.limiter.snapshot()) < 500 * 16 + 2000


def test_folded_series_without_a_value_cost_nothing() -> None:
    """Those that have ended are not in the state; the others take 16 bytes for the digest and 20 more."""
    daemon = Daemon(max_series=1, action="overflow")
    series = [{"__name__": "m_total", "i": str(i)} for i in range(1001)]
    gauges = [{"__name__": "m", "i": str(i)} for i in range(1000)]
    daemon.points(1, [(one, 1.0) for one in [*series, *gauges]])
    with_all = len(daemon.limiter.snapshot())
    assert with_all < 2000 * 36 + 2000
    daemon.points(2, [(one, -99) for one in gauges])
    assert with_all - len(daemon.limiter.snapshot()) == pytest.approx(1000 * 36, abs=50)


@pytest.mark.parametrize("config", [{"max_series": 50}, {"metrics": {"other": 1}}, {"max_values_per_label": 50}])
@pytest.mark.parametrize("action", ["drop", "overflow"])
def test_nothing_grows_over_restarts(config: dict[str, Any], action: str) -> None:
    """Each run has other series than the one before, also of metrics that have no limit."""
    daemon = Daemon(**config, action=action)
    sizes = []
    for run in range(12):
        daemon.many("m_total", range(100 * run, 100 * run + 100))
        daemon.points(1, [(f"only_in_{run:02}_total", 1.0)])
        daemon.wait(HOUR_S / 2 + 100)
        sizes.append(len(daemon.restart()))
    assert max(sizes[7:]) <= max(sizes[1:7]) + 20, sizes


def test_overflow_series_are_let_go() -> None:
    """Of metrics that somebody invents, once nothing is folded into them any more."""
    daemon = Daemon(max_series=1, action="overflow")
    for run in range(5):
        daemon.points(1, [(f"invented_{run}_{i}", 1.0) for i in range(200)])
        daemon.wait(6)
        daemon.wait(HOUR_S)
        assert len(daemon.limiter.snapshot()) < 2000, run


# -- places --------------------------------------------------------------------------------------------------


def test_places_are_reserved() -> None:
    """A series that comes before those that were admitted does not get their places, and they pass no limit."""
    daemon = Daemon(max_series=2)
    assert daemon.send(a=1, b=1, c=1) == ["a", "b"]
    daemon.restart()
    assert daemon.send(c=1, d=1) == []
    assert daemon.send(b=1, a=1, e=1) == ["b", "a"]


def test_places_are_reserved_by_metric_and_value() -> None:
    """A value that is reserved may be used by other series, too."""
    daemon = Daemon(max_series_per_metric=3, max_values_per_label=2)

    def passed(*users: str, **more: str) -> list[str]:
        sent = [({"__name__": "m", "user": user, **more}, 1.0) for user in users]
        return [name for name, _, _ in daemon.points(1, sent)]

    assert passed("1", "2", "3") == ['m{user="1"}', 'm{user="2"}']
    daemon.restart()
    assert passed("3") == []
    assert passed("2", job="x") == ['m{job="x", user="2"}']
    assert passed("2", job="y") == []
    assert passed("1", "2") == ['m{user="1"}', 'm{user="2"}']


def test_places_are_let_go() -> None:
    """After an hour of waiting, over all runs; a run in which nothing comes does not begin the hour anew."""
    daemon = Daemon(max_series=2)
    daemon.send(a=1, b=1)
    daemon.restart()
    assert daemon.send(a=1, c=1) == ["a"]
    daemon.wait(HOUR_S / 2)
    daemon.restart()
    daemon.wait(HOUR_S / 2 - 1)
    assert daemon.send(c=1) == []
    daemon.table.collect(-1.0)
    daemon.wait(61)
    assert daemon.send(c=1) == ["c"]
    assert daemon.send(d=1, a=1) == ["a"]


def test_a_place_is_given_back_once() -> None:
    """A series that has come again and is freed then leaves its place to another one."""
    daemon = Daemon(max_series=1)
    daemon.send(a=1)
    daemon.restart()
    assert daemon.send(a=1) == ["a"]
    daemon.now_s += 100
    for _ in range(3):
        daemon.table.collect(10)
    assert daemon.send(b=1, a=1) == ["b"]
    assert daemon.restart()
    assert daemon.send(a=1, b=1) == ["b"]


def test_a_limit_on_another_label_after_a_reload() -> None:
    """Series that were counted without it are counted with it when they come again."""
    daemon = Daemon(max_series=9)
    daemon.many("m", range(4))
    daemon.restart(max_values_per_label=3)
    assert daemon.many("m", range(6)) == 4
    daemon.restart(max_values_per_label=0)
    assert daemon.many("m", range(6)) == 6


def test_a_workspace_that_does_not_come_is_let_go() -> None:
    """After an hour, too."""
    daemon = Daemon(max_series=1)
    daemon.limiter.process(make_batch(["a"], table=daemon.table, context=BatchContext(workspace="rare")))
    daemon.restart()
    daemon.wait(HOUR_S - 1)
    assert b"rare" in daemon.limiter.snapshot()
    daemon.wait(100)
    assert b"rare" not in daemon.limiter.snapshot()


@pytest.mark.parametrize("seed", range(5))
def test_no_limit_is_ever_passed(seed: int) -> None:
    """Whatever comes, goes and is restarted; who was admitted last is admitted again first."""
    generator = random.Random(seed)
    daemon = Daemon(max_series=30, max_series_per_metric=12, max_values_per_label=5)
    admitted: dict[str, float] = {}
    for _ in range(60):
        if generator.random() < 0.2:
            daemon.restart()
        sent = [
            {"__name__": generator.choice("abcd"), "user": generator.choice("12345678"), "n": generator.choice("1234")}
            for _ in range(generator.randrange(1, 20))
        ]
        found = {name for name, _, _ in daemon.points(1, [(one, 1.0) for one in sent])}
        assert {str(Series.of(one)) for one in sent} & admitted.keys() <= found
        admitted |= dict.fromkeys(found, 0.0)
        _check_limits(list(admitted))
        if generator.random() < 0.1:
            daemon.now_s += 2 * HOUR_S
            for _ in range(3):
                daemon.table.collect(HOUR_S)
            daemon.limiter.tick(0)
            admitted.clear()
    daemon.now_s += 2 * HOUR_S
    for _ in range(3):
        daemon.table.collect(HOUR_S)
    daemon.limiter.tick(0)
    empty = Daemon(**daemon.config)
    empty.points(1, [({"__name__": "a"}, 1.0)])
    daemon.points(1, [({"__name__": "a"}, 1.0)])
    assert daemon.limiter.snapshot() == empty.limiter.snapshot()


def _check_limits(names: list[str]) -> None:
    assert len(names) <= 30
    for metric in "abcd":
        own = [name for name in names if name.startswith(metric)]
        assert len(own) <= 12
        assert len({name.partition('user="')[2] for name in own}) <= 5


# -- sums ----------------------------------------------------------------------------------------------------


def test_a_counter_goes_on() -> None:
    """A member that comes again adds what it has grown by since; one that was ended before adds nothing at first."""
    daemon = Daemon(max_series=1, action="overflow")
    daemon.send(keep=1)
    members = [{"__name__": "c_total", "i": i} for i in "ab"]
    daemon.points(1, [(members[0], 10.0), (members[1], 20.0)])
    for start in range(2, 6):
        daemon.restart()
        assert daemon.points(start, [(members[1], 20.0 + start)]) == [
            ("c_total" + OVER, start - 1, {2: 30.0}.get(start, 32.0 + (start - 3)))
        ]
    daemon.points(7, [(members[0], 15.0)])
    assert daemon.wait(6) == [("c_total" + OVER, 7 * S, 40.0)]


def test_a_gauge_falls_by_what_does_not_come_again() -> None:
    """After an hour; what comes again counts once."""
    daemon = Daemon(max_series=1, action="overflow")
    daemon.send(keep=1)
    members = [{"__name__": "g", "i": i} for i in "abc"]
    daemon.points(1, [(one, 10.0) for one in members])
    daemon.restart()
    daemon.points(2, [(members[0], 11.0)])
    assert daemon.wait(6) == [("g" + OVER, 2 * S, 31.0)]
    daemon.wait(HOUR_S - 60)
    daemon.points(3, [(members[1], 12.0)])
    daemon.wait(61)
    daemon.points(4, [(members[1], 13.0)])
    assert daemon.wait(6) == [("g" + OVER, 4 * S, 24.0)]


def test_a_limit_that_is_raised() -> None:
    """Folded series are judged anew; a gauge falls by those that have places now."""
    daemon = Daemon(max_series_per_metric=1, action="overflow")
    members = [{"__name__": "g", "i": i} for i in "abc"]
    daemon.points(1, [(one, 10.0) for one in members])
    daemon.restart(max_series_per_metric=2)
    found = daemon.points(2, [(one, 11.0) for one in members])
    assert found == [('g{i="a"}', 2, 11.0), ('g{i="b"}', 2, 11.0), ("g" + OVER, 1, 10.0)]
    assert daemon.wait(6) == [("g" + OVER, 2 * S, 11.0)]


def test_an_idle_overflow_series_begins_anew() -> None:
    """Also where its members are still in the table: they join it again."""
    daemon = Daemon(max_series=1, action="overflow")
    daemon.points(1, [(name, 10.0) for name in ("keep", "c_total")])
    daemon.wait(6)
    daemon.wait(HOUR_S + 1)
    daemon.points(2, [("c_total", 50.0)])
    assert daemon.wait(6) == [("c_total" + OVER, 2 * S, 50.0)]


def test_overflow_series_without_room_in_the_table() -> None:
    """Their points are counted, and no other series gets their verdict."""
    daemon = Daemon(SeriesLimits(max_series=3), max_series=2, action="overflow")
    assert daemon.send(a=1, b=1, c_total=1) == ["a", "b"]
    assert daemon.wait(6) == []
    assert daemon.counters.value("headrace_dropped_points", {"reason": "series_limit"}) == 1
    assert daemon.send(2, a=1, b=1) == ["a", "b"]


# -- identity and form ---------------------------------------------------------------------------------------


def test_digests_tell_identities_apart() -> None:
    """By everything that tells series apart."""
    labels = (("__name__", "a"),)
    series = [
        Series(labels),
        Series((("__name__", "b"),)),
        Series(labels, Form.OTLP),
        Series(labels, Form.OTLP, Kind(MetricType.COUNTER)),
        Series(labels, Form.OTLP, unit="s"),
        Series(labels, Form.OTLP, scope=Scope("s")),
        Series(labels, Form.OTLP, types=(("a", "int"),)),
    ]
    assert len({digest(one) for one in series}) == len(series)
    # A state of today is read tomorrow.
    assert digest(series[0]).hex() == "c7ddf8ddd2d82600c78cc0cdbfe540af"


def test_digests_that_begin_alike() -> None:
    """They are told apart by their ends, and each is found once."""
    found = np.zeros((4, 16), np.uint8)
    found[:, 15] = [3, 1, 2, 1]
    digests = Digests(found)
    assert digests.take(found[2].tobytes()) == 2
    assert sorted(digests.take(found[1].tobytes()) for _ in range(3)) == [-1, 1, 3]
    assert digests.take(bytes(16)) == digests.take(b"\xff" * 16) == -1


def test_a_state_of_version_1_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The daemon starts, and says so."""
    daemon = Daemon(max_series=1)
    daemon.limiter.restore(b'{"version": 1, "workspaces": {"default": {"series": {"x": [1, null]}, "slots": []}}}')
    assert "version 1" in caplog.text
    assert daemon.send(a=1, b=1) == ["a"]


def _cut(part: Part) -> None:
    part.arrays["kept.0"] = part.arrays["kept.0"][:-1]


def _narrow(part: Part) -> None:
    part.arrays["kept.0"] = part.arrays["kept.0"][:, :8]


def _negative(part: Part) -> None:
    part.value["kept"][0]["metrics"]["keep"] = -1


def _no_slot(part: Part) -> None:
    part.arrays["member.slot"][:] = 7


def _short(part: Part) -> None:
    part.arrays["sum.total"] = part.arrays["sum.total"][:0]


def _ageless(part: Part) -> None:
    part.arrays["member.age_s"][:] = np.nan


def _twice(part: Part) -> None:
    part.value["sums"] *= 2
    for name in [name for name in part.arrays if name.startswith("sum.")]:
        part.arrays[name] = np.repeat(part.arrays[name], 2)


def _without(part: Part) -> None:
    del part.arrays["member.last"]


def _no_list(part: Part) -> None:
    part.value["kept"] = 5


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_cut, "do not agree"),
        (_narrow, "digests are uint8 of shape"),
        (_negative, "below 1"),
        (_no_slot, "of no overflow series"),
        (_short, "sum.total"),
        (_ageless, "age"),
        (_twice, "twice"),
        (_without, "member.last"),
        (_no_list, "hold together"),
    ],
)
def test_what_does_not_hold_together_is_refused(harm: Callable[[Part], None], why: str) -> None:
    """At once, with the reason; a limiter that has refused a state works."""
    daemon = Daemon(max_series=1, action="overflow")
    daemon.send(keep=1, c_total=2)
    parts = decode("cardinality_limit", 2, daemon.limiter.snapshot())
    for part in parts.values():
        harm(part)
    with pytest.raises(ValueError, match=why):
        daemon.limiter.restore(encode("cardinality_limit", 2, parts))
    assert daemon.send(2, keep=1) == ["keep"]


def test_restored_sums_of_other_settings_are_let_go() -> None:
    """Where series are dropped now, what waits is passed on, and the rest is forgotten after an hour."""
    daemon = Daemon(max_series=1, action="overflow")
    daemon.send(keep=1, c_total=2)
    daemon.restart(action="drop")
    assert daemon.send(2, keep=1, c_total=3) == ["keep"]
    assert daemon.wait(6) == [("c_total" + OVER, 1 * S, 2.0)]
    daemon.wait(HOUR_S)
    assert b"c_total" not in daemon.limiter.snapshot()
