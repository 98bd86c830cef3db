"""The OpenAPI document: beside Prometheus' own, and what the daemon really answers validated against it."""

from __future__ import annotations

import json
import urllib.parse
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from headrace.store.api import openapi
from one_daemon import OneDaemon
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[4] / "shared" / "conformance" / "http_api"
GOLDEN = {version: FOLDER / f"openapi_{version}_golden.yaml" for version in openapi.VERSIONS}
NOT_SERVED = {"/search/metric_names", "/search/label_names", "/search/label_values"}
"""Prometheus' experimental search; always off here."""

NO_ANSWER = {"DeleteSeriesOutputBody", "CleanTombstonesOutputBody"}
"""Prometheus documents 200 with a body, and answers 204 without."""

MORE_MEMBERS = {("FloatSeries", "histograms")}
"""A series of numbers and histograms has both, which Prometheus' document does not tell."""

needs_golden = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the documents in ../shared/conformance")


@cache
def golden(version: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(GOLDEN[version].read_text(), yaml.CSafeLoader)
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(path, method): one for path, methods in document["paths"].items() for method, one in methods.items()}


def theirs() -> list[tuple[str, str, str]]:
    """Return version, path and method of each of Prometheus' operations that are served."""
    if not FOLDER.is_dir():
        return []
    return [
        (version, path, method)
        for version in GOLDEN
        for path, method in operations(golden(version))
        if path not in NOT_SERVED
    ]


def parameters(operation: dict[str, Any]) -> list[tuple[str, str, bool, str]]:
    return [
        (one["name"], one["in"], one["required"], one["schema"].get("type", "several"))
        for one in operation.get("parameters", [])
    ]


def members(schema: dict[str, Any]) -> dict[str, bool]:
    """Return the members of an object, with whether each is required."""
    required = schema.get("required", [])
    return {name: name in required for name in schema.get("properties", {})}


@needs_golden
@pytest.mark.parametrize(("version", "path", "method"), theirs())
def test_operation_is_prometheus_own(version: str, path: str, method: str) -> None:
    """Parameters in order with their places and types, and the members of a form."""
    document, other = openapi.document(version), golden(version)
    ours, their = operations(document)[path, method], operations(other)[path, method]

    assert parameters(ours) == parameters(their)
    assert ours["tags"] == their["tags"]
    form = "application/x-www-form-urlencoded"
    if "requestBody" in their:
        name = their["requestBody"]["content"][form]["schema"]["$ref"].rpartition("/")[2]
        assert ours["requestBody"]["content"][form]["schema"]["$ref"].rpartition("/")[2] == name
        assert members(document["components"]["schemas"][name]) == members(other["components"]["schemas"][name])
    else:
        assert "requestBody" not in ours


@needs_golden
@pytest.mark.parametrize("version", sorted(GOLDEN))
def test_paths_are_prometheus_own(version: str) -> None:
    """No path is missing but those of the search, and none is there that Prometheus lacks."""
    assert set(openapi.document(version)["paths"]) == set(golden(version)["paths"]) - NOT_SERVED


def their_schemas() -> list[str]:
    if not FOLDER.is_dir():
        return []
    return [
        name for name in golden("3.1")["components"]["schemas"]
        if not name.startswith("Search") and name not in NO_ANSWER
    ]  # fmt: skip


@needs_golden
@pytest.mark.parametrize("name", their_schemas())
def test_schema_has_prometheus_members(name: str) -> None:
    """Names of members, and which of them are always there."""
    ours = openapi.document()["components"]["schemas"][name]
    found = {member: always for member, always in members(ours).items() if (name, member) not in MORE_MEMBERS}
    assert found == members(golden("3.1")["components"]["schemas"][name])


# -- what the daemon answers -----------------------------------------------------------------------------

LAST = {"time": "1700000000"}
ASKED: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("get", "/query", [("query", "up")]),
    ("get", "/query", [("query", "up"), ("stats", "all")]),
    ("get", "/query", [("query", "1"), ("time", "5.5")]),
    ("get", "/query", [("query", "'text'")]),
    ("get", "/query", [("query", "up[5m]")]),
    ("get", "/query", [("query", "h")]),
    ("get", "/query", [("query", "h[5m]")]),
    ("get", "/query", [("query", "both[5m]")]),
    ("get", "/query", [("query", "{__name__=~'up|h|both'}"), ("limit", "1")]),
    ("post", "/query", [("query", "rate(h[1m])"), ("stats", "true")]),
    ("get", "/query", [("query", "sum(")]),
    ("get", "/query_range", [("query", "up"), ("start", "START"), ("end", "END"), ("step", "15")]),
    ("post", "/query_range", [("query", "both"), ("start", "START"), ("end", "END"), ("step", "1"), ("stats", "all")]),
    ("get", "/query_range", [("query", "up")]),
    ("get", "/query_exemplars", [("query", "up")]),
    ("post", "/query_exemplars", [("query", "up")]),
    ("get", "/format_query", [("query", "sum by(a)(b)")]),
    ("post", "/format_query", [("query", "1 +")]),
    ("get", "/parse_query", [("query", "rate(up[5m]) / on (a) group_left b")]),
    ("post", "/parse_query", [("query", "up")]),
    ("get", "/labels", []),
    ("post", "/labels", [("match[]", "up"), ("limit", "1")]),
    ("get", "/label/job/values", []),
    ("get", "/label/U__a_2e_b/values", [("limit", "x")]),
    ("get", "/series", [("match[]", "up")]),
    ("post", "/series", [("match[]", "up"), ("match[]", "h")]),
    ("get", "/series", []),
    ("get", "/metadata", []),
    ("get", "/metadata", [("limit", "x")]),
    ("get", "/scrape_pools", []),
    ("get", "/scrape_pools/config", [("scrapePool", "self")]),
    ("get", "/scrape_pools/config", [("scrapePool", "nosuch")]),
    ("get", "/targets", []),
    ("get", "/targets", [("state", "dropped"), ("scrapePool", "self")]),
    ("get", "/targets/metadata", []),
    ("get", "/targets/metadata", [("metric", "headrace_http_answers_total"), ("match_target", '{job="self"}')]),
    ("get", "/targets/relabel_steps", [("scrapePool", "self"), ("labels", '{"__address__":"a:1","job":"b"}')]),
    ("get", "/targets/relabel_steps", [("scrapePool", "self"), ("labels", '{"__address__":"a:2","job":"b"}')]),
    ("get", "/targets/relabel_steps", [("scrapePool", "self"), ("labels", "[]")]),
    ("get", "/rules", []),
    ("get", "/rules", [("type", "x")]),
    ("get", "/alerts", []),
    ("get", "/alertmanagers", []),
    ("get", "/status/config", []),
    ("get", "/status/runtimeinfo", []),
    ("get", "/status/buildinfo", []),
    ("get", "/status/flags", []),
    ("get", "/status/tsdb", [("limit", "2")]),
    ("get", "/status/tsdb", [("limit", "0")]),
    ("get", "/status/tsdb/blocks", []),
    ("get", "/status/walreplay", []),
    ("get", "/status/self_metrics", []),
    ("get", "/status/self_metrics", [("metric_name_pattern", "(")]),
    ("put", "/admin/tsdb/snapshot", []),
    ("post", "/admin/tsdb/snapshot", [("skip_head", "true")]),
    ("post", "/admin/tsdb/snapshot", [("skip_head", "x")]),
    ("post", "/admin/tsdb/delete_series", [("match[]", "nosuch")]),
    ("put", "/admin/tsdb/delete_series", []),
    ("post", "/admin/tsdb/clean_tombstones", []),
    ("put", "/admin/tsdb/clean_tombstones", []),
    ("get", "/notifications", []),
    ("get", "/features", []),
]
"""Requests whose answers have to be as the document says: good ones and refused ones of every operation."""

OTHER_PROTOCOLS = {"/read", "/write", "/otlp/v1/metrics", "/notifications/live"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneDaemon]:
    folder = tmp_path_factory.mktemp("openapi")
    with Programs(folder) as programs:
        found = OneDaemon(programs, folder / "daemon", full=True)
        found.write_some()
        yield found


@pytest.fixture(scope="module")
def document(daemon: OneDaemon) -> dict[str, Any]:
    """The document as the daemon serves it."""
    told = daemon.ask("GET", "/api/v1/openapi.yaml")
    assert told.headers["Content-Type"] == "application/yaml; charset=utf-8"
    found: dict[str, Any] = yaml.safe_load(told.body)
    return found


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    whole = Resource.from_contents(document, DRAFT202012)
    inside = json.loads(json.dumps(schema).replace("#/components", "urn:api#/components"))
    return Draft202012Validator(inside, registry=Registry().with_resource("urn:api", whole))


@pytest.mark.parametrize(("method", "path", "form"), ASKED, ids=lambda one: str(one)[:60].replace(":", " "))
def test_answer_is_as_documented(
    daemon: OneDaemon, document: dict[str, Any], method: str, path: str, form: list[tuple[str, str]]
) -> None:
    """Its status is one of the operation's, and its body what the schema of the status says."""
    now = float(daemon.ask("GET", "/api/v1/query?query=time()").json["data"]["result"][1])
    times = {"START": str(now - 120), "END": str(now)}
    encoded = urllib.parse.urlencode([(name, times.get(value, value)) for name, value in form])
    posted = method == "post" and "get" in document["paths"].get(path, {})
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if posted else {}
    target = f"/api/v1{path}" if posted or not encoded else f"/api/v1{path}?{encoded}"
    told = daemon.ask(method.upper(), target, encoded.encode() if posted else None, headers)

    name = path if path in document["paths"] else "/label/{name}/values"
    responses = document["paths"][name][method]["responses"]
    answer = responses.get(str(told.status), responses["default"])
    assert (str(told.status) in responses) == (told.status < 400), told.body
    if "content" in answer:
        schema = answer["content"]["application/json"]["schema"]
        validator(document, schema).validate(told.json)
    else:
        assert told.body == b""


def test_every_operation_is_asked() -> None:
    """No operation of the document is left out above, but those that speak other protocols."""
    asked = {(path if not path.startswith("/label/") else "/label/{name}/values", method) for method, path, _ in ASKED}
    known = {one for one in operations(openapi.document()) if one[0] not in OTHER_PROTOCOLS}
    assert asked == known


def test_every_path_is_in_the_documentation() -> None:
    """docs/api.md tells of each."""
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    served_by_receivers = {"/write", "/otlp/v1/metrics"}
    for one in openapi.ENDPOINTS:
        path = f"/api/v1{one.path}" if one.path in served_by_receivers else one.path
        assert f"`{path}`" in page, path


@pytest.mark.parametrize("version", sorted(openapi.VERSIONS))
def test_the_document_itself(daemon: OneDaemon, version: str) -> None:
    """Each version is served under its number, every schema is one, and no reference leads nowhere."""
    told = daemon.ask("GET", f"/api/v1/openapi.yaml?openapi_version={version}")
    found = yaml.safe_load(told.body)

    assert found["openapi"] == openapi.VERSIONS[version]
    schemas = found["components"]["schemas"]
    for schema in schemas.values():
        validator_for(schema, Draft202012Validator).check_schema(schema)
    used = set(told.body.decode().split("#/components/schemas/")[1:])
    assert {one.split("'")[0].split("\n")[0] for one in used} == set(schemas)
    assert b"&id" not in told.body
