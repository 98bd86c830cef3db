"""The same odd requests to a real Prometheus and to this API: statuses and errors are equal.

What differs on purpose is in DIFFERENT, with the reason; a difference that goes away fails the test as well.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest

from api_lab import ApiLab
from running import Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer

REQUESTS = [
    "GET /api/v1/query?query=1&time=abc",
    "GET /api/v1/query?query=1&time=1_000",
    "GET /api/v1/query?query=1&time=0x10",
    "GET /api/v1/query?query=1&time=0x10p0",
    "GET /api/v1/query?query=1&time=1e400",
    "GET /api/v1/query?query=1&time=%201",
    "GET /api/v1/query?query=1&time=+1",
    "GET /api/v1/query?query=1&time=.",
    "GET /api/v1/query?query=1&time=-1.5",
    "GET /api/v1/query?query=1&time=%ff%0a%22%5c",
    "GET /api/v1/query?query=1&time=%C3%A4%E2%80%8B%F0%9F%98%80",
    "GET /api/v1/query?query=1&time=%3Cb%3E%26",
    "GET /api/v1/query?query=1&time=2015-07-01T20:10:30,781Z",
    "GET /api/v1/query?query=1&time=2015-07-01T2:10:30Z",
    "GET /api/v1/query?query=1&time=2015-02-29T20:10:30Z",
    "GET /api/v1/query?query=1&time=2015-07-01T20:10:30%2B24:60",
    "GET /api/v1/query?query=1&time=2015-07-01T20:10:30%2B25:00",
    "GET /api/v1/query?query=1&time=2015-07-01T20:10:30%2B02",
    "GET /api/v1/query?query=1&time=2015-07-01t20:10:30z",
    "GET /api/v1/query?query=1&time=2015-07-01T20:10Z",
    "GET /api/v1/query?query=1&time=9999-12-31T23:59:60Z",
    "GET /api/v1/query?query=1&time=2015-7-01T20:10:30Z",
    "GET /api/v1/query?query=1&time=-292273086-05-16T16:47:06Z",
    "GET /api/v1/query?query=1&time=NaN",
    "GET /api/v1/query?query=1&time=9e15",
    "GET /api/v1/query?query=1&limit=abc",
    "GET /api/v1/query?query=1&limit=1.5",
    "GET /api/v1/query?query=1&limit=-1",
    "GET /api/v1/query?query=1&limit=%2B1",
    "GET /api/v1/query?query=1&limit=1_0",
    "GET /api/v1/query?query=1&limit=0x10",
    "GET /api/v1/query?query=1&limit=99999999999999999999",
    "GET /api/v1/query?query=1&limit=-99999999999999999999",
    "GET /api/v1/query?query=1&timeout=abc",
    "GET /api/v1/query?query=1&timeout=5m",
    "GET /api/v1/query?query=1&timeout=5m5",
    "GET /api/v1/query?query=1&timeout=1m1h",
    "GET /api/v1/query?query=1&timeout=-5m",
    "GET /api/v1/query?query=1&timeout=1e300",
    "GET /api/v1/query?query=1&timeout=400y",
    "GET /api/v1/query?query=1&timeout=0",
    "GET /api/v1/query?query=1&lookback_delta=x",
    "GET /api/v1/query?query=1&lookback_delta=-1",
    "GET /api/v1/query?query=1&lookback_delta=0",
    "GET /api/v1/query?time=abc&limit=abc",
    "GET /api/v1/query?query=1&time=x&timeout=y",
    "GET /api/v1/query?query=1&timeout=x&lookback_delta=y",
    "GET /api/v1/query?query=1&time=1;limit=x",
    "GET /api/v1/query?query=1&time=%zz",
    "GET /api/v1/query?query=1&time=1&time=x",
    "POST /api/v1/query?time=x|query=1&time=2",
    "POST /api/v1/query?query=1&time=3|time=x",
    "POST /api/v1/query?query=1&time=3|time=%zz",
    "PUT /api/v1/query?query=1",
    "DELETE /api/v1/query?query=1",
    "HEAD /api/v1/query?query=1",
    "PATCH /api/v1/query_range",
    "GET /api/v1/query_range",
    "GET /api/v1/query_range?query=1&start=1",
    "GET /api/v1/query_range?query=1&start=x&end=y&step=z",
    "GET /api/v1/query_range?query=1&start=1&end=2",
    "GET /api/v1/query_range?query=1&start=1&end=2&step=0",
    "GET /api/v1/query_range?query=1&start=1&end=2&step=-1",
    "GET /api/v1/query_range?query=1&start=1&end=2&step=abc",
    "GET /api/v1/query_range?query=1&start=1&end=2&step=1e300",
    "GET /api/v1/query_range?query=1&start=1&end=2&step=1y",
    "GET /api/v1/query_range?query=1&start=2&end=1&step=1",
    "GET /api/v1/query_range?query=1&start=2&end=1&step=0",
    "GET /api/v1/query_range?query=1&start=0&end=11000&step=1",
    "GET /api/v1/query_range?query=1&start=0&end=11001&step=1",
    "GET /api/v1/query_range?query=1&start=0&end=11000.999&step=1",
    "GET /api/v1/query_range?query=1&start=0&end=11001&step=1&timeout=x",
    "GET /api/v1/query_range?query=1&start=1&end=1&step=0.0015",
    "GET /api/v1/query_range?query=1&start=1&end=2&step=0.0001",
    "GET /api/v1/query_range?query=1&start=0&end=1&step=1&timeout=x",
    "GET /api/v1/query_range?query=1&start=0&end=1&step=1&lookback_delta=x",
    "GET /api/v1/query_range?query=1&start=0&end=1&step=1&limit=x",
    "GET /api/v1/query_exemplars?query=1",
    "GET /api/v1/query_exemplars?query=nothing",
    "GET /api/v1/query_exemplars?query=rate(nothing[5m])&start=1&end=2",
    "GET /api/v1/query_exemplars?query=nothing&start=2&end=1",
    "GET /api/v1/query_exemplars?query=nothing&start=x&end=y",
    "GET /api/v1/query_exemplars?query=nothing&end=y",
    "GET /api/v1/query_exemplars?query={}",
    "POST /api/v1/query_exemplars|query=nothing",
    "PUT /api/v1/query_exemplars?query=nothing",
    "GET /api/v1/series",
    "GET /api/v1/series?match[]={}",
    "GET /api/v1/series?match[]=up&match[]={}",
    "GET /api/v1/series?match[]=up&start=x",
    "GET /api/v1/series?match[]=up&end=x",
    "GET /api/v1/series?match[]=up&start=x&end=y&limit=z",
    "GET /api/v1/series?match[]=up&start=2&end=1",
    "GET /api/v1/series?match[]=up&limit=x",
    "GET /api/v1/series?match[]=up&limit=-1",
    "GET /api/v1/series?limit=x",
    "GET /api/v1/series?match[]=up&a=%zz",
    "GET /api/v1/series?match[]=up&a=%4",
    "GET /api/v1/series?match[]=up;a=1",
    "POST /api/v1/series|match[]=up&a=%zz",
    "POST /api/v1/series|match%5B%5D=up",
    "PUT /api/v1/series?match[]=up",
    "DELETE /api/v1/series?match[]=up",
    "GET /api/v1/labels?match[]={}",
    "GET /api/v1/labels?start=x",
    "GET /api/v1/labels?end=x",
    "GET /api/v1/labels?limit=x",
    "GET /api/v1/labels?start=2&end=1",
    "GET /api/v1/labels?start=2&end=1&limit=0",
    "POST /api/v1/labels",
    "GET /api/v1/label/job/values?match[]={}",
    "GET /api/v1/label/job/values?start=x",
    "GET /api/v1/label/job/values?limit=-1",
    "GET /api/v1/label/%ff/values",
    "GET /api/v1/label/%ff%22%0a/values?limit=x",
    "GET /api/v1/label/a-b/values",
    "GET /api/v1/label/%20/values",
    "GET /api/v1/label/U__a_zz_b/values",
    "GET /api/v1/label/job/value",
    "GET /api/v1/label/job",
    "POST /api/v1/label/job/values",
    "GET /api/v1/metadata?limit=x",
    "GET /api/v1/metadata?limit=-1",
    "GET /api/v1/metadata?limit_per_metric=x",
    "GET /api/v1/metadata?limit=1&metric=nosuch",
    "POST /api/v1/metadata",
    "GET /api/v1/targets?state=x",
    "POST /api/v1/targets",
    "POST /api/v1/status/buildinfo",
    "POST /api/v1/status/walreplay",
    "GET /api/v1/status/tsdb?limit=0",
    "GET /api/v1/status/tsdb?limit=x",
    "GET /api/v1/status/tsdb?limit=-1",
    "GET /api/v1/status/tsdb?limit=99999999999999999999",
    "POST /api/v1/status/tsdb",
    "GET /api/v1/status/tsdb?limit=10000",
    "GET /api/v1/format_query",
    "GET /api/v1/format_query?query=sum(",
    "GET /api/v1/format_query?query=sum+by(a)(b)",
    "POST /api/v1/format_query|query=up",
    "PUT /api/v1/format_query",
    "GET /api/v1/parse_query",
    "GET /api/v1/parse_query?query=%22",
    "GET /api/v1/parse_query?query=up",
    "POST /api/v1/parse_query|query=up%5B5m%5D",
    "DELETE /api/v1/parse_query",
    "GET /api/v1/read",
    "POST /api/v1/read",
    "GET /federate",
    "GET /federate?match[]=%zz",
    "POST /federate",
    "GET /api/v1/rules",
    "GET /api/v1/rules?type=alert",
    "GET /api/v1/rules?type=Record",
    "GET /api/v1/rules?type=x",
    "GET /api/v1/rules?type=x&exclude_alerts=x",
    "GET /api/v1/rules?exclude_alerts=x",
    "GET /api/v1/rules?exclude_alerts=tRuE",
    "GET /api/v1/rules?group_limit=x",
    "GET /api/v1/rules?group_limit=0",
    "GET /api/v1/rules?group_limit=-1",
    "GET /api/v1/rules?group_limit=%2B1",
    "GET /api/v1/rules?group_limit=2147483648",
    "GET /api/v1/rules?group_limit=1_0",
    "GET /api/v1/rules?group_next_token=abc",
    "GET /api/v1/rules?group_next_token=abc&group_limit=1",
    "GET /api/v1/rules?group_next_token=abc&group_limit=x",
    "GET /api/v1/rules?match[]={}",
    "GET /api/v1/rules?match[]={}&type=x",
    "GET /api/v1/rules?rule_name[]=a&rule_group[]=b&file[]=c",
    "GET /api/v1/rules?a=%zz",
    "POST /api/v1/rules",
    "GET /api/v1/alerts",
    "GET /api/v1/alerts?a=%zz",
    "POST /api/v1/alerts",
    "GET /api/v1/alertmanagers",
    "POST /api/v1/alertmanagers",
    "GET /api/v1/notifications",
    "POST /api/v1/notifications",
    "GET /api/v1/scrape_pools",
    "POST /api/v1/scrape_pools",
    "GET /api/v1/targets/metadata",
    "GET /api/v1/targets/metadata?limit=x",
    "GET /api/v1/targets/metadata?limit=-1&metric=up",
    "POST /api/v1/targets/metadata",
    "GET /api/v1/targets?scrapePool=nosuch",
    "GET /api/v1/admin/tsdb/snapshot",
    "POST /api/v1/admin/tsdb/snapshot",
    "PUT /api/v1/admin/tsdb/clean_tombstones",
    "POST /api/v1/admin/tsdb/delete_series?match[]=up",
    "GET /-/reload",
    "HEAD /-/reload",
    "DELETE /-/reload",
    "POST /-/reload",
    "PUT /-/reload",
    "GET /-/quit",
    "POST /-/quit",
    "PUT /-/quit",
    "DELETE /-/quit",
    "GET /api/v1/status/nosuch",
    "GET /api/v1/nosuch",
    "GET /api/v2/query",
    "GET /nosuch",
    "POST /-/healthy",
    "POST /-/ready",
    "HEAD /-/healthy",
    "GET /api/v1//query?query=1",
]

DIFFERENT = {
    "GET /api/v1/query?query=1&time=NaN": "Prometheus wraps it into the year 1677",
    "GET /api/v1/query?query=1&timeout=0": "503 timeout, which it is, instead of 422 execution",
    "GET /api/v1/query_range?query=1&start=1&end=2&step=0.0001": "Prometheus divides by zero",
    "DELETE /api/v1/series?match[]=up": "Prometheus has the route, answering that it is not implemented",
    "PUT /api/v1/series?match[]=up": "so its Allow names DELETE",
    "GET /api/v1//query?query=1": "no redirects for unclean paths",
}


@pytest.fixture(scope="module")
def prometheus(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    port = free_port()
    with Programs(folder) as programs:
        command: list[str | Path] = [
            peers / "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        programs.start("prometheus", command).wait_http(f"http://127.0.0.1:{port}/-/ready")
        yield port


def send(port: int, request: str) -> dict[str, Any]:
    """Send ``METHOD target|form`` byte for byte; return what has to be equal."""
    method, target = request.split(" ", 1)
    target, posted, form = target.partition("|")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, target)
        if posted:
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            connection.putheader("Content-Length", str(len(form)))
        connection.endheaders(form.encode() if posted else None)
        reply = connection.getresponse()
        body = reply.read()
        kind = reply.getheader("Content-Type")
        facts: dict[str, Any] = {"code": reply.status, "allow": reply.getheader("Allow")}
        if kind == "application/json":
            answer = json.loads(body)
            facts |= {key: answer.get(key) for key in ("status", "errorType", "error")}
        elif reply.status != 301:
            facts |= {"kind": kind if body else None, "text": body}
        return facts
    finally:
        connection.close()


@pytest.fixture
async def ours() -> Any:
    api = ApiLab()
    await api.start()

    async def ask(request: str) -> dict[str, Any]:
        assert api.listener is not None
        return await asyncio.to_thread(send, api.listener.port, request)

    yield ask
    await api.close()


async def test_errors_are_prometheus_own(prometheus: int, ours: Any) -> None:
    """Every request gets the same status, error type, text and Allow header from both."""
    unequal = {}
    for request in REQUESTS:
        theirs, own = send(prometheus, request), await ours(request)
        if (theirs == own) == (request in DIFFERENT):
            unequal[request] = (theirs, own)

    assert len(REQUESTS) >= 100
    assert not unequal, json.dumps(unequal, indent=1, default=repr)
