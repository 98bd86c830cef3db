"""What Grafana's Prometheus data source sends, answered as Prometheus does.

First the requests of "save & test" and of the checks after it, by which Grafana tells Prometheus from Mimir, Cortex
and Thanos and chooses features by the version; then those of the query editor, of dashboards and of alerting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from two_servers import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from twins import Answer
    from two_servers import TwoServers

pytestmark = pytest.mark.peer

HEADERS = {
    "Accept-Encoding": "gzip",
    "Accept": "application/json, text/plain, */*",
    "User-Agent": "Grafana/12.2.0",
    "X-Grafana-Org-Id": "1",
    "X-Dashboard-Uid": "node",
    "X-Panel-Id": "2",
    "X-Datasource-Uid": "headrace",
    "X-Query-Group-Id": "5b0a",
}

Form = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sent:
    """A request.

    Attributes:
        what: Method and path below ``/api/v1/``.
        form: Parameters; START, END and NOW stand for times.
        read: Makes of the decoded answer what has to be equal.
    """

    what: str
    form: Form = ()
    read: Callable[[Any], Any] = lambda answer: answer

    def __str__(self) -> str:
        return f"{self.what} {dict(self.form)}"


def shape(value: Any) -> Any:
    """Return the types of a value: those of each key, and those of any item."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return sorted({repr(shape(one)) for one in value})
    return type(value).__name__


def unnamed(answer: Any) -> Any:
    """Return the shape of an answer, leaving out under which names its data are."""
    return shape({**answer, "data": list(answer["data"].values())})


def untimed(answer: Any) -> Any:
    """Return an answer with exemplars, without when they were scraped."""
    for series in answer["data"]:
        for exemplar in series["exemplars"]:
            del exemplar["timestamp"]
    return answer


def without_newer(value: Any) -> Any:
    """Return a syntax tree without what newer versions say of selectors that have none of it."""
    if isinstance(value, dict):
        newer = {"anchored": False, "smoothed": False, "offsetExpr": None, "rangeExpr": None}
        kept = {key: one for key, one in value.items() if key not in newer or one is not newer[key]}
        return {key: without_newer(one) for key, one in kept.items()}
    return [without_newer(one) for one in value] if isinstance(value, list) else value


WINDOW: Form = (("start", "START"), ("end", "END"))
SINCE: Form = (("start", "START"), ("end", "NOW"))
"""Up to now, since Prometheus' head knows labels but not at which times, so that it tells of the scrapes as well."""
RATE = 'sum by (job) (rate(requests_total{code=~"2..|5.."}[1m15s]))'
PANEL = (*WINDOW, ("step", "15"), ("timeout", "60s"))

SAVE_AND_TEST = (
    Sent("POST query", (("query", "1+1"), ("time", "NOW"))),
    Sent("GET query", (("query", "1+1"), ("time", "NOW"))),
    Sent("GET status/buildinfo", (), shape),
    Sent("GET status/flags", (), unnamed),
    Sent("GET rules"),
    Sent("GET metadata", (("limit", "1"),), unnamed),
)
EDITOR = (
    Sent("GET labels", SINCE),
    Sent("POST labels", SINCE),
    Sent("GET labels", (*SINCE, ("match[]", "requests_total"))),
    Sent("POST labels", (*SINCE, ("match[]", '{job="api"}'), ("limit", "40000"))),
    Sent("GET label/__name__/values", SINCE),
    Sent("GET label/__name__/values", (*SINCE, ("match[]", '{__name__=~".*request.*"}'), ("limit", "40000"))),
    Sent("GET label/instance/values", (*SINCE, ("match[]", 'requests_total{job="api"}'))),
    Sent("GET label/U__a_20_label/values", SINCE),
    Sent("GET series", (*SINCE, ("match[]", "requests_total"))),
    Sent("POST series", (*SINCE, ("match[]", '{job="api",__name__=~"temperature|odd"}'), ("limit", "40000"))),
    Sent("GET metadata"),
    Sent("GET metadata", (("metric", "page_temperature_celsius"),)),
    Sent("GET metadata", (("limit", "2"), ("limit_per_metric", "1")), unnamed),
    Sent("GET format_query", (("query", "sum by(job)(rate(requests_total[5m]))"),)),
    Sent("POST parse_query", (("query", RATE),), without_newer),
)
DASHBOARD = (
    Sent("POST query_range", (("query", RATE), *PANEL)),
    Sent("GET query_range", (("query", RATE), *PANEL)),
    Sent(
        "POST query_range",
        (("query", "histogram_quantile(0.95, sum by (le) (rate(latency_seconds_bucket[5m])))"), *PANEL),
    ),
    Sent("POST query_range", (("query", "temperature > 1e9"), *PANEL)),
    Sent("POST query", (("query", "topk(5, temperature)"), ("time", "END"))),
    Sent("POST query", (("query", 'odd{kind="Größe 😀"}'), ("time", "END"))),
    Sent("POST query", (("query", "requests_total[2m]"), ("time", "END"))),
    Sent("POST query", (("query", 'label_replace(vector(scalar(count(up))), "a", "b", "", "")'), ("time", "NOW"))),
    Sent("POST query_exemplars", (("query", "page_requests_total"), ("start", "START"), ("end", "NOW")), untimed),
    Sent("GET query_exemplars", (("query", RATE), *WINDOW)),
)
ALERTING = (
    Sent("GET rules", (("type", "alert"), ("limit_alerts", "16"), ("group_limit", "40"))),
    Sent("GET alerts"),
    Sent("GET alertmanagers", (), shape),
)
REFUSED = (
    Sent("POST query_range", (("query", "rate(requests_total[$__rate_interval])"), *PANEL)),
    Sent("POST query", (("query", "sum("), ("time", "NOW"))),
    Sent("POST query", (("query", "{}"), ("time", "NOW"))),
    Sent("POST query", (("query", ""), ("time", "NOW"))),
    Sent("POST query_range", (("query", "requests_total - on (job) sum by (job) (temperature)"), *PANEL)),
    Sent("POST query_range", (("query", "1"), ("start", "0"), ("end", "END"), ("step", "1"))),
    Sent("GET series", (*WINDOW, ("match[]", "{}"))),
    Sent("GET label/__name__/values", (*WINDOW, ("match[]", "sum(up)"))),
)
ABSENT = ("GET suggestions", "POST suggestions", "GET rules/test/test", "GET status/nosuch", "POST metadata")


def send(base: str, sent: Sent, servers: TwoServers) -> Answer:
    method, path = sent.what.split(" ")
    times = {"START": f"{servers.end_s - 1800}.123", "END": f"{servers.end_s}.5", "NOW": f"{servers.end_s + 300}"}
    form = [(name, times.get(text, text)) for name, text in sent.form]
    headers = {**HEADERS, "Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else HEADERS
    return ask(base, path, form, method=method, headers=headers)


def facts(answer: Answer, read: Callable[[Any], Any]) -> dict[str, Any]:
    return {"status": answer.status, "type": answer.headers["Content-Type"], "answer": read(answer.json)}


@pytest.mark.parametrize("sent", [*SAVE_AND_TEST, *EDITOR, *DASHBOARD, *ALERTING], ids=str)
def test_answers(servers: TwoServers, sent: Sent) -> None:
    """The same answer; where it tells of the server itself, the same shape."""
    ours, theirs = (facts(send(base, sent, servers), sent.read) for base in servers.both)
    assert ours == theirs
    assert ours["status"] == 200


@pytest.mark.parametrize("sent", REFUSED, ids=str)
def test_refusals(servers: TwoServers, sent: Sent) -> None:
    """The same status, type and text of the error."""
    ours, theirs = (facts(send(base, sent, servers), lambda answer: answer) for base in servers.both)
    assert ours == theirs
    assert ours["status"] >= 400


@pytest.mark.parametrize("what", ABSENT)
def test_what_is_absent(servers: TwoServers, what: str) -> None:
    """Grafana asks for what other servers have, and takes the same status for a no."""
    ours, theirs = (send(base, Sent(what), servers).status for base in servers.both)
    assert ours == theirs
    assert ours in {404, 405}


def test_long_answers_are_packed(servers: TwoServers) -> None:
    """Grafana unpacks gzip."""
    for base in servers.both:
        found = send(base, Sent("POST query_range", (("query", "{job=~'.+'}"), *PANEL)), servers)
        assert found.headers["Content-Encoding"] == "gzip"


def test_it_is_taken_for_prometheus_three(servers: TwoServers) -> None:
    """No `application` and no `features`, which Mimir and Cortex have; a version that has every feature."""
    found = send(servers.ours, Sent("GET status/buildinfo"), servers).json["data"]
    assert not {"application", "features"} & found.keys()
    assert re.fullmatch(r"3\.\d+\.\d+", found["version"])
