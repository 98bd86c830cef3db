"""The administrative part of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api_lab import ApiLab
from headrace.pipeline.errors import StoreFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from headrace.store.matchers import Matcher


SYNTAX = "invalid syntax"


class FakeAdmin:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.fails = False

    async def delete(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> None:
        self.asked.append(("delete", " ".join(map(str, matchers)), start_ms, end_ms))

    async def purge(self) -> None:
        self.asked.append(("purge",))

    async def snapshot(self, *, with_head: bool) -> str:
        if self.fails:
            raise StoreFailed("the disk is full")
        self.asked.append(("snapshot", with_head))
        return "20261122T072017Z-7240bd25fb5601e1"


@pytest.fixture
def admin() -> FakeAdmin:
    return FakeAdmin()


@pytest.fixture
async def api(admin: FakeAdmin) -> AsyncIterator[ApiLab]:
    lab = ApiLab(admin=admin)
    await lab.start()
    yield lab
    await lab.close()


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_delete(api: ApiLab, admin: FakeAdmin, method: str) -> None:
    """Each selector, from a time to a time or for ever; nothing comes back."""
    path = "/api/v1/admin/tsdb/delete_series?match[]=up&match[]=down&start=1.5&end=2"
    reply = await api.ask(path, method)
    assert (reply.status, reply.raw) == (204, b"")
    assert admin.asked == [("delete", '__name__="up"', 1500, 2000), ("delete", '__name__="down"', 1500, 2000)]
    await api.ask("/api/v1/admin/tsdb/delete_series?match[]=up", method)
    _, _, start_ms, end_ms = admin.asked[-1]
    assert start_ms < -(1 << 52) < 1 << 52 < end_ms


async def test_clean_and_snapshot(api: ApiLab, admin: FakeAdmin) -> None:
    """A snapshot's name comes back."""
    assert (await api.ask("/api/v1/admin/tsdb/clean_tombstones", "POST")).status == 204
    reply = await api.ask("/api/v1/admin/tsdb/snapshot", "POST")
    assert reply.json == {"status": "success", "data": {"name": "20261122T072017Z-7240bd25fb5601e1"}}
    await api.ask("/api/v1/admin/tsdb/snapshot?skip_head=true", "PUT")
    assert admin.asked == [("purge",), ("snapshot", True), ("snapshot", False)]


@pytest.mark.parametrize(
    ("path", "status", "kind", "why"),
    [
        ("delete_series", 400, "bad_data", "no match[] parameter provided"),
        (
            "delete_series?match[]=up&start=x", 400, "bad_data",
            "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp",
        ),
        (
            "delete_series?match[]=-", 400, "bad_data",
            'invalid parameter "match[]": 1:1: parse error: no name',
        ),
        (
            "snapshot?skip_head=maybe", 400, "bad_data",
            'invalid parameter "skip_head": unable to parse boolean: strconv.ParseBool: parsing "maybe": ' + SYNTAX,
        ),
    ],
)  # fmt: skip
async def test_bad_requests(api: ApiLab, admin: FakeAdmin, path: str, status: int, kind: str, why: str) -> None:
    """Nothing is done."""
    reply = await api.ask(f"/api/v1/admin/tsdb/{path}", "POST")
    assert reply.status == status
    assert reply.json == {"status": "error", "errorType": kind, "error": why}
    assert admin.asked == []


async def test_failures_are_told(api: ApiLab, admin: FakeAdmin) -> None:
    """As internal errors."""
    admin.fails = True
    reply = await api.ask("/api/v1/admin/tsdb/snapshot", "POST")
    assert (reply.status, reply.json["errorType"], reply.json["error"]) == (500, "internal", "the disk is full")


@pytest.mark.parametrize("path", ["delete_series", "clean_tombstones", "snapshot"])
async def test_off_unless_asked_for(path: str) -> None:
    """And never by GET."""
    lab = ApiLab()
    await lab.start()
    reply = await lab.ask(f"/api/v1/admin/tsdb/{path}", "POST")
    assert reply.status == 500
    assert reply.json == {"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"}
    assert (await lab.ask(f"/api/v1/admin/tsdb/{path}", "GET")).status == 405
    await lab.close()
