"""The OpenAPI document of the API, made of the table of its endpoints; served at ``/api/v1/openapi.yaml``.

Source:
    OpenAPI Specification 3.1 and 3.2. Paths, parameters and names of members are Prometheus'; the words are not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from headrace.store.api.openapi_schemas import (
    ANYTHING,
    DATA,
    ERROR,
    INTEGER,
    STRING,
    STRINGS,
    Schema,
    envelope,
    listed,
    mapped,
    ref,
    shaped,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSIONS = {"3.1": "3.1.0", "3.2": "3.2.0"}
"""Versions that the document is served in, by their short names."""

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"

TIME: Schema = {"oneOf": [{"type": "string", "format": "date-time"}, {"type": "number", "format": "unixtime"}]}
SPAN: Schema = {"oneOf": [{"type": "string"}, {"type": "number"}]}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an endpoint.

    Attributes:
        name: It.
        about: What it means.
        schema: Its values.
        required: Whether it has to be given.
        place: ``query`` or ``path``.
    """

    name: str
    about: str
    schema: Schema
    required: bool = False
    place: str = "query"

    def document(self) -> Schema:
        """Return it as an OpenAPI parameter object."""
        return {
            "name": self.name,
            "in": self.place,
            "description": self.about,
            "required": self.required,
            "schema": self.schema,
        }


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path.

    Attributes:
        path: Below ``/api/v1``.
        methods: Lower case; where ``post`` stands beside ``get`` it takes the parameters as a form.
        name: What operations and schemas are called after.
        tag: Its subject.
        about: What it does.
        parameters: In order.
        data: What is under ``data``; None where nothing is.
        status: Of the answer when all is well.
        answer: Media type with the schema of an answer that is not the JSON of the others.
        since: Version of the document from which on it is there.
    """

    path: str
    methods: tuple[str, ...]
    name: str
    tag: str
    about: str
    parameters: tuple[Parameter, ...] = ()
    data: Schema | None = None
    status: int = 200
    answer: tuple[str, Schema] | None = None
    since: str = "3.1"


_QUERY = Parameter("query", "Expression in PromQL.", STRING, required=True)
_TIMEOUT = Parameter("timeout", "Longest time that the query may take.", SPAN)
_LOOKBACK = Parameter("lookback_delta", "How far back a sample counts as present.", SPAN)
_STATS = Parameter("stats", "Ask for statistics: true, or all for those of each step too.", STRING)
_START = Parameter("start", "Oldest time.", TIME)
_END = Parameter("end", "Newest time, included.", TIME)
_LIMIT = Parameter("limit", "Most entries of the answer; 0 for all.", INTEGER)
_MATCH = Parameter("match[]", "Selector of series; several select what any of them does.", STRINGS)
_POOL = Parameter("scrapePool", "Name of a scrape job.", STRING)
_GET, _READ, _CHANGE = ("get",), ("get", "post"), ("put", "post")


def _required(parameter: Parameter) -> Parameter:
    return replace(parameter, required=True)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "/query", _READ, "Query", "query", "Evaluate an expression at one time.",
        (_LIMIT, Parameter("time", "When; now without it.", TIME), _QUERY, _TIMEOUT, _LOOKBACK, _STATS),
        ref("QueryData"),
    ),
    Endpoint(
        "/query_range", _READ, "QueryRange", "query", "Evaluate an expression at steps of time.",
        (_LIMIT, _required(_START), _required(_END), Parameter("step", "Time between two steps.", SPAN, required=True),
         _QUERY, _TIMEOUT, _LOOKBACK, _STATS),
        ref("QueryData"),
    ),
    Endpoint(
        "/query_exemplars", _READ, "QueryExemplars", "query", "Find exemplars of the series in an expression.",
        (_START, _END, _QUERY), listed(ref("SeriesExemplars")),
    ),
    Endpoint("/format_query", _READ, "FormatQuery", "query", "Lay out an expression.", (_QUERY,), STRING),
    Endpoint("/parse_query", _READ, "ParseQuery", "query", "Return the tree of an expression.", (_QUERY,), ANYTHING),
    Endpoint("/labels", _READ, "Labels", "labels", "List label names.", (_START, _END, _MATCH, _LIMIT), STRINGS),
    Endpoint(
        "/label/{name}/values", _GET, "LabelValues", "labels", "List the values of a label.",
        (Parameter("name", "Label, written with U__ where it needs that.", STRING, required=True, place="path"),
         _START, _END, _MATCH, _LIMIT), STRINGS,
    ),
    Endpoint(
        "/series", _READ, "Series", "series", "List the label sets of series.",
        (_START, _END, _required(_MATCH), _LIMIT), listed(ref("Labels")),
    ),
    Endpoint(
        "/metadata", _GET, "Metadata", "metadata", "List types, units and helps of metric families.",
        (_LIMIT, Parameter("limit_per_metric", "Most entries of one family.", INTEGER),
         Parameter("metric", "Name of the one family to list.", STRING)),
        mapped(listed(ref("Metadata"))),
    ),
    Endpoint("/scrape_pools", _GET, "ScrapePools", "targets", "List scrape jobs.", (), ref("ScrapePoolsDiscovery")),
    Endpoint(
        "/scrape_pools/config", _GET, "ScrapePoolConfig", "targets", "Return the settings of a scrape job.",
        (_required(_POOL),), ref("ScrapePoolConfigData"),
    ),
    Endpoint(
        "/targets", _GET, "Targets", "targets", "List targets and how their scrapes went.",
        (_POOL, Parameter("state", "active, dropped or any.", STRING)), ref("TargetDiscovery"),
    ),
    Endpoint(
        "/targets/metadata", _GET, "TargetMetadata", "targets", "List what targets say about their metrics.",
        (Parameter("match_target", "Selector of targets by their labels.", STRING),
         Parameter("metric", "Name of the one family to list.", STRING), _LIMIT),
        listed(ref("MetricMetadata")),
    ),
    Endpoint(
        "/targets/relabel_steps", _GET, "TargetRelabelSteps", "targets", "Try the relabelling rules of a scrape job.",
        (_required(_POOL), Parameter("labels", "Labels as a JSON object.", STRING, required=True)),
        ref("RelabelStepsResponse"),
    ),
    Endpoint(
        "/rules", _GET, "Rules", "rules", "List rules.",
        (Parameter("type", "alert or record.", STRING), Parameter("rule_name[]", "Names of rules.", STRINGS),
         Parameter("rule_group[]", "Names of groups.", STRINGS), Parameter("file[]", "Files of groups.", STRINGS),
         Parameter("match[]", "Selectors of rules by their labels.", STRINGS),
         Parameter("exclude_alerts", "Leave out the alerts of rules.", STRING),
         Parameter("group_limit", "Most groups of the answer.", INTEGER),
         Parameter("group_next_token", "Where to go on after the answer before.", STRING)),
        ref("RuleDiscovery"),
    ),
    Endpoint("/alerts", _GET, "Alerts", "alerts", "List alerts.", (), ref("AlertDiscovery")),
    Endpoint("/alertmanagers", _GET, "Alertmanagers", "alerts", "List who is sent alerts.", (),
             ref("AlertmanagerDiscovery")),
    Endpoint("/status/config", _GET, "StatusConfig", "status", "Return the configuration.", (),
             ref("StatusConfigData")),
    Endpoint("/status/runtimeinfo", _GET, "StatusRuntimeInfo", "status", "Return facts about the process.", (),
             ref("RuntimeInfo")),
    Endpoint("/status/buildinfo", _GET, "StatusBuildInfo", "status", "Return versions.", (), ref("PrometheusVersion")),
    Endpoint("/status/flags", _GET, "StatusFlags", "status", "Return settings by the names of flags.", (),
             mapped(STRING)),
    Endpoint(
        "/status/tsdb", _GET, "StatusTSDB", "status", "Return what series are made of.",
        (Parameter("limit", "Entries of each list, 1 to 10000.", INTEGER),), ref("TSDBStatus"),
    ),
    Endpoint("/status/tsdb/blocks", _GET, "StatusTSDBBlocks", "status", "List blocks on disk.", (),
             ref("StatusTSDBBlocksData")),
    Endpoint("/status/walreplay", _GET, "StatusWALReplay", "status", "Return how far start-up has come.", (),
             ref("StatusWALReplayData")),
    Endpoint(
        "/status/self_metrics", _GET, "StatusSelfMetrics", "status", "Return the daemon's own metrics.",
        (Parameter("metric_name_pattern", "Pattern that a whole name has to match.", STRING),),
        listed(ref("SelfMetric")),
    ),
    Endpoint(
        "/admin/tsdb/delete_series", _CHANGE, "DeleteSeries", "admin", "Delete samples of series.",
        (_required(_MATCH), _START, _END), None, 204,
    ),
    Endpoint(
        "/admin/tsdb/clean_tombstones", _CHANGE, "CleanTombstones", "admin", "Remove deleted samples from disk.",
        status=204,
    ),
    Endpoint(
        "/admin/tsdb/snapshot", _CHANGE, "Snapshot", "admin", "Make a snapshot.",
        (Parameter("skip_head", "Leave out what is in memory only.", STRING),), ref("DataStruct"),
    ),
    Endpoint(
        "/read", ("post",), "RemoteRead", "remote", "Read samples by the remote read protocol.",
        answer=("application/x-protobuf", ANYTHING),
    ),
    Endpoint("/write", ("post",), "RemoteWrite", "remote", "Write samples by the remote write protocol.", status=204),
    Endpoint("/otlp/v1/metrics", ("post",), "OtlpWrite", "otlp", "Write metrics by OTLP.", status=200,
             answer=("application/x-protobuf", ANYTHING)),
    Endpoint("/notifications", _GET, "Notifications", "notifications", "List what an administrator should know.", (),
             listed(ref("Notification"))),
    Endpoint(
        "/notifications/live", _GET, "NotificationsLive", "notifications", "Follow what an administrator should know.",
        answer=("text/event-stream", shaped("An event.", {"data": STRING})), since="3.2",
    ),
    Endpoint("/features", _GET, "Features", "features", "List features, and which are on.", (),
             mapped(mapped({"type": "boolean"}))),
)  # fmt: skip
"""All endpoints."""

_TAGS = {
    "query": "Expressions.",
    "metadata": "What metrics mean.",
    "labels": "Names and values.",
    "series": "Label sets.",
    "targets": "What is scraped.",
    "rules": "Rules.",
    "alerts": "Alerts, and who is sent them.",
    "status": "The daemon itself.",
    "admin": "Changes to what is stored.",
    "features": "What is on.",
    "remote": "Protocols between servers.",
    "otlp": "OpenTelemetry.",
    "notifications": "News.",
}


def document(version: str = "3.1") -> dict[str, Any]:
    """Return the document.

    Args:
        version: One of VERSIONS.
    """
    found = [one for one in ENDPOINTS if one.since <= version]
    return {
        "openapi": VERSIONS[version],
        "info": {
            "title": "Headrace API",
            "description": "The HTTP API of Prometheus, as Headrace serves it.",
            "version": "1",
        },
        "servers": [{"url": "/api/v1"}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": {one.path: _operations(one) for one in found},
        "components": {"schemas": _schemas(found)},
    }


@cache
def text(version: str) -> bytes:
    """Return the document as YAML."""
    return yaml.dump(document(version), sort_keys=False, Dumper=_Dumper).encode()


class _Dumper(yaml.SafeDumper):
    """Writes what stands in several places in each of them: anchors are no part of OpenAPI."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _operations(endpoint: Endpoint) -> Schema:
    return {method: _operation(endpoint, method) for method in endpoint.methods}


def _operation(endpoint: Endpoint, method: str) -> Schema:
    several = len(endpoint.methods) > 1
    as_form = method == "post" and "get" in endpoint.methods
    name = endpoint.name[0].lower() + endpoint.name[1:]
    described: Schema = {
        "tags": [endpoint.tag],
        "summary": endpoint.about.removesuffix("."),
        "operationId": f"{name}{method.capitalize()}" if several else name,
    }
    if as_form:
        body = {"schema": ref(f"{endpoint.name}PostInputBody")}
        described["requestBody"] = {"required": True, "content": {_FORM: body}}
    elif endpoint.parameters:
        described["parameters"] = [one.document() for one in endpoint.parameters]
    described["responses"] = {
        str(endpoint.status): _answer(endpoint),
        "default": {"description": "An error.", "content": {_JSON: {"schema": ref("Error")}}},
    }
    return described


def _answer(endpoint: Endpoint) -> Schema:
    if endpoint.answer is not None:
        kind, schema = endpoint.answer
        # Streams have a schema for each item from 3.2 on, where alone they are.
        key = "itemSchema" if kind == "text/event-stream" else "schema"
        return {"description": "The answer.", "content": {kind: {key: schema}}}
    if endpoint.status == 204:
        return {"description": "Done."}
    return {"description": "The answer.", "content": {_JSON: {"schema": ref(f"{endpoint.name}OutputBody")}}}


def _schemas(endpoints: Sequence[Endpoint]) -> Schema:
    found: Schema = {"Error": ERROR, **DATA}
    for one in endpoints:
        if "post" in one.methods and "get" in one.methods:
            members = {
                parameter.name + ("" if parameter.required else "?"): _in_form(parameter.schema)
                for parameter in one.parameters
            }
            found[f"{one.name}PostInputBody"] = shaped(f"Parameters of {one.path}.", members)
        if one.answer is None and one.status != 204:
            found[f"{one.name}OutputBody"] = envelope(f"Answer of {one.path}.", one.data)
    return found


def _in_form(schema: Schema) -> Schema:
    """Return the schema of a parameter in a form, where times and durations are text."""
    return STRING if "oneOf" in schema else schema
