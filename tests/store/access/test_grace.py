"""Grace covers exactly what was allowed, for exactly its time."""

from __future__ import annotations

from headrace.store.access.grace import Asked, Grace

WRITE = Asked("AKIA", "aps:RemoteWrite", "arn:1")


def test_it_ends() -> None:
    now = [100.0]
    grace = Grace(60, lambda: now[0])
    assert not grace.covers(WRITE)
    grace.allowed(WRITE)
    now[0] = 159.9
    assert grace.covers(WRITE)
    assert grace.covers(WRITE)
    now[0] = 160.0
    assert not grace.covers(WRITE)


def test_nothing_else_is_covered() -> None:
    grace = Grace(60, lambda: 0.0)
    grace.allowed(WRITE)
    for other in (
        WRITE._replace(access_key="AKIB"),
        WRITE._replace(action="aps:QueryMetrics"),
        WRITE._replace(resource="arn:2"),
    ):
        assert not grace.covers(other)


def test_off_and_bounded() -> None:
    off = Grace(0, lambda: 0.0)
    off.allowed(WRITE)
    assert not off.covers(WRITE)
    small = Grace(60, lambda: 0.0, size=2)
    asked = [WRITE._replace(resource=str(n)) for n in range(3)]
    for one in (asked[0], asked[1], asked[0], asked[2]):
        small.allowed(one)
    assert [small.covers(one) for one in asked] == [True, False, True]
