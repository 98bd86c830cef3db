"""``/api/v1/features``: what there is of Prometheus' features, by its categories and names.

Clients choose by this list what they offer, so it is made of the tables that the language itself is made of, and of
the switches of the daemon; a name that Prometheus lists and Headrace does not have is listed as off.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from headrace.store.promql.language.functions_table import AGGREGATIONS, EXPERIMENTAL_AGGREGATIONS, FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.store.promql.language.parser import ParserOptions

API_ALWAYS = (
    "exclude_alerts", "label_values_match", "openapi_3.1", "openapi_3.2", "query_stats", "query_warnings",
    "time_range_labels", "time_range_series",
)  # fmt: skip
API_SWITCHED = ("admin", "lifecycle", "otlp_write_receiver", "remote_write_receiver")
API_NEVER = ("search", "search_fuzz_alg_jarowinkler", "search_fuzz_alg_subsequence")

LANGUAGE_ALWAYS = (
    "at_modifier", "bool", "by", "group_left", "group_right", "ignoring", "negative_offset", "offset", "on",
    "per_query_lookback_delta", "subqueries", "without",
)  # fmt: skip
LANGUAGE_OPTIONS = {
    "anchored": "extended_range_selectors",
    "duration_expr": "duration_expressions",
    "fill": "fill_modifiers",
    "fill_left": "fill_modifiers",
    "fill_right": "fill_modifiers",
    "smoothed": "extended_range_selectors",
}
"""Parts of the language by the option of the parser that turns them on."""

LANGUAGE_SWITCHES = {
    "delayed_name_removal": "promql-delayed-name-removal",
    "per_step_stats": "promql-per-step-stats",
    "type_and_unit_labels": "type-and-unit-labels",
}
"""The rest by the name of the switch."""

OPERATORS = (
    "!=", "!~", "%", "*", "+", "-", "/", "<", "</", "<=", "==", "=~", ">", ">/", ">=", "@", "^", "and", "atan2", "or",
    "unless",
)  # fmt: skip

DISCOVERY = (
    "aws", "azure", "consul", "digitalocean", "dns", "docker", "dockerswarm", "ec2", "ecs", "elasticache", "eureka",
    "file", "gce", "hetzner", "http", "ionos", "kubernetes", "kuma", "lightsail", "linode", "marathon", "msk", "nerve",
    "nomad", "oci", "openstack", "outscale", "ovhcloud", "puppetdb", "rds", "scaleway", "serverset", "stackit",
    "static", "triton", "uyuni", "vultr",
)  # fmt: skip
DISCOVERED_HERE = frozenset({"file", "static"})

TEMPLATES = (
    "args", "externalURL", "first", "graphLink", "humanize", "humanize1024", "humanizeDuration", "humanizePercentage",
    "humanizeTimestamp", "label", "match", "now", "parseDuration", "pathPrefix", "query", "reReplaceAll", "safeHtml",
    "sortByLabel", "stripDomain", "stripPort", "strvalue", "tableLink", "title", "toDuration", "toLower", "toTime",
    "toUpper", "urlQueryEscape", "value",
)  # fmt: skip


def features(language: ParserOptions, switches: frozenset[str]) -> dict[str, dict[str, bool]]:
    """Return each feature with whether it is on, by category.

    Args:
        language: Parts of PromQL that are on.
        switches: Names of those of the daemon's features that are on: of the keys of ``api``, and as Prometheus' flag
            ``--enable-feature`` names them.
    """
    options = {one.name: bool(getattr(language, one.name)) for one in fields(language)}
    experimental = options["experimental_functions"]
    return {
        "api": {**_all(API_ALWAYS, on=True), **_all(API_NEVER), **{name: name in switches for name in API_SWITCHED}},
        "otlp_receiver": _all(("delta_conversion", "native_delta_ingestion")),
        "prometheus": {**_all(("agent_mode", "auto_reload_config", "stringlabels")), "server_mode": True},
        "promql": {
            **_all(LANGUAGE_ALWAYS, on=True),
            **{name: options.get(option, False) for name, option in LANGUAGE_OPTIONS.items()},
            **{name: switch in switches for name, switch in LANGUAGE_SWITCHES.items()},
        },
        "promql_functions": {name: experimental or not one.experimental for name, one in FUNCTIONS.items()},
        "promql_operators": {
            **_all(OPERATORS, on=True),
            **{name: experimental or name not in EXPERIMENTAL_AGGREGATIONS for name in AGGREGATIONS},
        },
        "rules": _all(("concurrent_rule_eval", "keep_firing_for", "query_offset")),
        "scrape": {
            **_all(("start_timestamp_zero_ingestion", "type_and_unit_labels")),
            "extra_scrape_metrics": True,
        },
        "service_discovery_providers": {name: name in DISCOVERED_HERE for name in DISCOVERY},
        "templating_functions": _all(TEMPLATES),
        "tsdb": {
            **_all(("delayed_compaction", "histograms_st_encoding", "isolation", "st_storage")),
            **_all(("use_uncached_io", "xor2_encoding")),
            "exemplar_storage": True,
            "native_histograms": True,
        },
        "ui": _all(("ui_v2", "ui_v3")),
    }


def _all(names: Iterable[str], *, on: bool = False) -> dict[str, bool]:
    return dict.fromkeys(names, on)
