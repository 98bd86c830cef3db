"""The dashboards that come with the project are such as Grafana imports and Prometheus understands."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards import Dashboard, filled, references
from headrace.store.promql.language.parser import parse, parse_selector

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / "configs" / "dashboards").glob("*.json"))
BUILT_IN = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h"}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> Dashboard:
    return Dashboard(request.param)


def test_there_are_dashboards() -> None:
    """The other tests have something to look at."""
    assert PATHS


def test_every_query_parses(dashboard: Dashboard) -> None:
    """With something in the place of each variable; variables that are not defined have nothing."""
    values = {**BUILT_IN, **{variable.name: "x" for variable in dashboard.variables()}}
    for query in dashboard.queries():
        parse(filled(query.text, values))
    for variable in dashboard.variables():
        parse_selector(filled(variable.selector, values))


def test_variables_refer_to_earlier_ones(dashboard: Dashboard) -> None:
    """Grafana resolves them one after the other; each is used somewhere."""
    known: set[str] = set()
    used: set[str] = set()
    for variable in dashboard.variables():
        assert references(variable.selector) <= known
        used |= references(variable.selector)
        known.add(variable.name)
    for query in dashboard.queries():
        used |= references(query.text)
    assert known <= used


def test_panels_do_not_overlap(dashboard: Dashboard) -> None:
    """Each has its own id and its own place on the grid of 24 columns."""
    assert len({panel["id"] for panel in dashboard.panels}) == len(dashboard.panels)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_data_source_is_a_variable(dashboard: Dashboard) -> None:
    """So that the dashboard fits into any Grafana."""
    for panel in dashboard.panels:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_node_exporter_has_many_queries() -> None:
    """All of its main collectors have panels."""
    queries = {query.text for query in Dashboard(ROOT / "configs" / "dashboards" / "node-exporter.json").queries()}
    assert len(queries) >= 100
