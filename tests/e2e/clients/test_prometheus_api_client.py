"""The Python package ``prometheus-api-client`` reads the same from Headrace as from Prometheus."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_api_client import MetricsList, PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException

if TYPE_CHECKING:
    from collections.abc import Callable

    from two_servers import TwoServers

pytestmark = pytest.mark.peer

QUERIES = (
    'sum by (job) (rate(requests_total{code="200"}[5m]))',
    "topk(3, temperature)",
    "size_bytes",
    "odd",
    "vector(1)",
    "nosuch",
)


class Clients:
    """A client of each server."""

    def __init__(self, servers: TwoServers, method: str) -> None:
        self.ours, self.theirs = (PrometheusConnect(url=base, method=method) for base in servers.both)
        self.start = datetime.fromtimestamp(servers.start_s, UTC)
        self.end = datetime.fromtimestamp(servers.end_s, UTC)
        self.at = {"time": str(servers.end_s)}

    def compare(self, ask: Callable[[PrometheusConnect], Any]) -> Any:
        """Return what a client was answered, once both were answered the same."""
        ours, theirs = ask(self.ours), ask(self.theirs)
        assert ours == theirs
        return ours


@pytest.fixture(params=["GET", "POST"])
def clients(request: pytest.FixtureRequest, servers: TwoServers) -> Any:
    made = Clients(servers, request.param)
    with closing(made.ours), closing(made.theirs):
        yield made


def test_names_and_values(clients: Clients) -> None:
    """All metrics, labels, and values of labels, with selectors and without."""
    assert "requests_total" in clients.compare(lambda client: client.all_metrics())
    assert "code" in clients.compare(lambda client: client.get_label_names())
    assert clients.compare(lambda client: client.get_label_names({"match[]": "temperature"})) == [
        "__name__", "instance", "job",
    ]  # fmt: skip
    assert clients.compare(lambda client: client.get_label_values("code")) == ["200", "404", "500"]
    values = clients.compare(lambda client: client.get_label_values("job", {"match[]": '{code="200"}'}))
    assert values == ["api", "db"]


def test_series(clients: Clients) -> None:
    """Label sets of a selector between two times."""
    found = clients.compare(lambda client: client.get_series(clients.start, clients.end, {"match[]": "requests_total"}))
    assert len(found) == 18


@pytest.mark.parametrize(("labels", "expected"), [(None, 18), ({"job": "api", "code": "500"}, 3)])
def test_values_at_a_time(clients: Clients, labels: dict[str, str] | None, expected: int) -> None:
    """With and without labels."""
    found = clients.compare(lambda client: client.get_current_metric_value("requests_total", labels, clients.at))
    assert len(found) == expected


def test_present_values(clients: Clients) -> None:
    """Values now, whenever that is."""
    for client in (clients.ours, clients.theirs):
        assert len(client.get_current_metric_value("requests_total")) == 18


@pytest.mark.parametrize("chunk", [None, timedelta(minutes=7)])
def test_samples_of_a_range(clients: Clients, chunk: timedelta | None) -> None:
    """Samples as they were written, in one request and in several."""

    def samples(client: PrometheusConnect) -> Any:
        return client.get_metric_range_data("temperature", {"job": "db"}, clients.start, clients.end, chunk)

    assert clients.compare(samples)


def test_lists_of_metrics(clients: Clients) -> None:
    """Series that come in pieces are put together again."""
    ours, theirs = (
        MetricsList(client.get_metric_range_data("temperature", None, clients.start, clients.end, timedelta(minutes=7)))
        for client in (clients.ours, clients.theirs)
    )
    assert len(ours) == len(theirs) == 6
    for one, other in zip(ours, theirs, strict=True):
        assert one == other
        assert one.metric_values.equals(other.metric_values)
        assert len(one.metric_values) > 200


@pytest.mark.parametrize("query", QUERIES)
def test_queries(clients: Clients, query: str) -> None:
    """A query at a time and over a range, and what the client makes of the values."""
    clients.compare(lambda client: client.custom_query(query, clients.at))
    clients.compare(lambda client: client.custom_query_range(query, clients.start, clients.end, "1m"))
    if query not in {"size_bytes", "odd"}:
        operations = ["sum", "max", "min", "average", "percentile_95", "deviation", "variance"]
        clients.compare(
            lambda client: client.get_metric_aggregation(query, operations, clients.start, clients.end, "90")
        )


def test_a_wrong_query(clients: Clients) -> None:
    """The exception quotes the answer, byte for byte."""

    def fails(client: PrometheusConnect) -> str:
        with pytest.raises(PrometheusApiClientException) as caught:
            client.custom_query("sum(")
        return str(caught.value)

    assert "HTTP Status Code 400" in clients.compare(fails)


def test_targets_and_metadata(clients: Clients) -> None:
    """Who is scraped, and what it says about its metrics."""
    assert clients.compare(lambda client: client.get_scrape_pools()) == ["page"]
    moving = ("lastScrape", "lastScrapeDuration", "discoveredLabels")

    def targets(client: PrometheusConnect) -> Any:
        found = client.get_targets("active", "page")["activeTargets"]
        return [{name: value for name, value in one.items() if name not in moving} for one in found]

    assert [one["health"] for one in clients.compare(targets)] == ["up"]
    found = clients.compare(lambda client: client.get_metric_metadata("page_temperature_celsius"))
    assert [one["unit"] for one in found] == ["celsius"]
    assert len(clients.compare(lambda client: client.get_metric_metadata("", limit_per_metric=1))) >= 5
    assert clients.compare(lambda client: client.get_target_metadata({"job": "page"}, "page_requests"))


def test_the_connection(clients: Clients) -> None:
    """The client takes any page at the root for a sign of life; builds of Prometheus without pages have none."""
    assert clients.ours.check_prometheus_connection()
