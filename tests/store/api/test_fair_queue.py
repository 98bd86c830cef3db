"""Who may query next."""

from __future__ import annotations

import pytest

from headrace.store.api.fair_queue import Durations, Expected, FairQueue, Place, QueueFull


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def names(places: list[Place]) -> list[str]:
    return [place.workspace for place in places if place.ready.done()]


async def test_first_come_first_served_within_a_workspace() -> None:
    """Nobody of equal kind is overtaken."""
    queue = FairQueue(1, 10, Clock())
    places = [queue.enter("a", Expected.UNKNOWN) for _ in range(3)]
    assert queue.waiting == 2
    for i, place in enumerate(places):
        assert [one.ready.done() for one in places] == [True] * (i + 1) + [False] * (2 - i)
        queue.leave(place)
    assert queue.waiting == 0


async def test_the_workspace_that_had_least_time_is_next() -> None:
    """One with heavy queries does not starve another, however many it sends."""
    clock = Clock()
    queue = FairQueue(1, 100, clock)
    heavy = [queue.enter("heavy", Expected.UNKNOWN) for _ in range(50)]
    order = []
    light: list[Place] = []
    for _ in range(20):
        light.append(queue.enter("light", Expected.UNKNOWN))
        running = next(place for place in heavy + light if place.ready.done())
        order.append(running.workspace)
        clock.now_s += 10 if running.workspace == "heavy" else 0.1
        queue.leave(running)
        (heavy if running in heavy else light).remove(running)
    assert order[:3] == ["heavy", "light", "light"]
    assert order.count("light") == 19


async def test_who_was_away_has_no_credit() -> None:
    """A workspace that comes back takes turns with those that were there."""
    clock = Clock()
    queue = FairQueue(1, 100, clock)
    first = queue.enter("a", Expected.UNKNOWN)
    clock.now_s += 100
    queue.leave(first)
    held = queue.enter("a", Expected.UNKNOWN)
    waiting = [queue.enter(name, Expected.UNKNOWN) for name in ("b", "b", "b", "a", "a")]
    clock.now_s += 1
    order = []
    queue.leave(held)
    while any(place.ready.done() for place in waiting):
        running = next(place for place in waiting if place.ready.done())
        order.append(running.workspace)
        clock.now_s += 1
        waiting.remove(running)
        queue.leave(running)
    assert order == ["b", "a", "b", "a", "b"]


async def test_the_last_places_are_for_short_queries() -> None:
    """Long ones leave some free, unknown ones a few, and short ones overtake what waits."""
    queue = FairQueue(20, 100, Clock())
    long = [queue.enter("a", Expected.LONG) for _ in range(20)]
    assert len(names(long)) == 14
    unknown = [queue.enter("a", Expected.UNKNOWN) for _ in range(20)]
    assert len(names(unknown)) == 3
    short = [queue.enter("a", Expected.SHORT) for _ in range(20)]
    assert len(names(short)) == 3
    queue.leave(short[0])
    assert len(names(short)) == 4
    for place in short[:4][1:]:
        queue.leave(place)
    assert len(names(short)) == 7


async def test_a_line_has_an_end() -> None:
    """It is each workspace's own."""
    queue = FairQueue(1, 2, Clock())
    places = [queue.enter("a", Expected.UNKNOWN) for _ in range(3)]
    with pytest.raises(QueueFull):
        queue.enter("a", Expected.UNKNOWN)
    other = queue.enter("b", Expected.UNKNOWN)
    queue.leave(places[1])
    queue.leave(places[2])
    queue.leave(other)
    assert queue.waiting == 0
    queue.leave(places[0])


def test_durations_are_those_of_the_last_time() -> None:
    """By workspace and text."""
    durations = Durations(0.5)
    durations.learn("a", "up", 0.1)
    durations.learn("b", "up", 2.0)
    assert durations.expected("a", "up") is Expected.SHORT
    assert durations.expected("b", "up") is Expected.LONG
    assert durations.expected("a", "down") is Expected.UNKNOWN
    for i in range(5000):
        durations.learn("a", str(i), 0.1)
    assert durations.expected("a", "up") is Expected.UNKNOWN
