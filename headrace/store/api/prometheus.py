"""The Prometheus HTTP API, ``/api/v1``, for the default workspace and, under ``/workspaces/{id}``, for any.

Parameters, envelopes and error texts are those of Prometheus, compared with a real one by the tests. Differences,
all deliberate: unclean paths (``//``) are 404 instead of a redirect; times that overflow Prometheus' int64 arithmetic
are errors or right instead of wrapped; a step under a millisecond is refused like a step of zero; a timeout of zero
or less is answered 503 ``timeout``; there is no ``DELETE /series``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.store.api import admin
from headrace.store.api.answering import GET, READ, Answering
from headrace.store.api.federate import Federate
from headrace.store.api.language_api import LanguageApi
from headrace.store.api.lifecycle import Lifecycle
from headrace.store.api.query_api import QueryApi
from headrace.store.api.remote_read import RemoteRead
from headrace.store.api.rule_api import RuleApi
from headrace.store.api.series_api import SeriesApi
from headrace.store.api.status_api import StatusApi
from headrace.store.api.target_api import TargetApi

if TYPE_CHECKING:
    from headrace.pipeline.http.routes import Route
    from headrace.store.api.answering import ApiSettings
    from headrace.store.api.backend import FindBackend
    from headrace.store.api.pool import QueryPool

_QUERY = "aps:QueryMetrics"
_SEARCHED = ("metric_names", "label_names", "label_values")
_LABELS = "aps:GetLabels"


class PrometheusApi:
    """Handlers of the API, and the routes to them.

    Args:
        find: Returns the workspace with an id.
        pool: Threads to query on.
        settings: The rest.
    """

    def __init__(self, find: FindBackend, pool: QueryPool, settings: ApiSettings) -> None:
        self._settings = settings
        self._answering = answering = Answering(find, settings)
        self._queries = QueryApi(answering.backend, pool, settings.clock_ns)
        self._language = LanguageApi(settings.language)
        self._series = SeriesApi(answering, pool)
        self._status = StatusApi(answering, pool)
        self._targets = TargetApi(settings.targets, settings.parse_selector)
        self._rules = RuleApi(answering)
        self._remote_read = RemoteRead(answering, pool)
        self._federate = Federate(answering, pool)
        self._admin = admin.AdminApi(settings.admin, answering.selectors)

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        named = {"id": self._settings.default_workspace}
        return [
            *(replace(route, params=named) for route in self._of_workspace("")),
            *self._of_workspace("/workspaces/{id}"),
            *self._of_daemon(),
            *self._of_administrators(),
            *Lifecycle(self._settings.ready).routes(),
        ]

    def _of_workspace(self, root: str) -> list[Route]:
        """Return the routes that each workspace has, with what a sender has to be allowed to do."""
        queries, language, series, status = self._queries, self._language, self._series, self._status
        prefix, plain = f"{root}/api/v1", self._answering.plain
        return [
            replace(plain(f"{prefix}/read", ("POST",), self._remote_read.read), action=_QUERY),
            replace(plain(f"{root}/federate", GET, self._federate.page), action=_QUERY),
            *(
                replace(self._answering.route(f"{prefix}/{path}", methods, handler), action=action)
                for path, methods, handler, action in (
                    ("query", READ, queries.query, _QUERY),
                    ("query_range", READ, queries.query_range, _QUERY),
                    ("query_exemplars", READ, queries.query_exemplars, _QUERY),
                    ("format_query", READ, language.format_query, _QUERY),
                    ("parse_query", READ, language.parse_query, _QUERY),
                    ("series", READ, series.series, "aps:GetSeries"),
                    ("labels", READ, series.labels, _LABELS),
                    ("label/{name}/values", GET, series.label_values, _LABELS),
                    ("metadata", GET, series.metadata, "aps:GetMetricMetadata"),
                    ("rules", GET, self._rules.rules, "aps:ListRules"),
                    ("alerts", GET, self._rules.alerts, "aps:ListAlerts"),
                    ("status/tsdb", GET, status.tsdb, _LABELS),
                    ("status/tsdb/blocks", GET, status.blocks, _LABELS),
                )
            ),
        ]

    def _of_daemon(self) -> list[Route]:
        """Return the routes about the daemon as a whole."""
        targets, rules, status, route = self._targets, self._rules, self._status, self._answering.route
        return [
            *(
                route(f"/api/v1/{path}", GET, handler)
                for path, handler in (
                    ("targets", targets.targets),
                    ("targets/metadata", targets.metadata),
                    ("targets/relabel_steps", targets.relabel_steps),
                    ("scrape_pools", targets.pools),
                    ("scrape_pools/config", targets.pool_config),
                    ("alertmanagers", rules.alertmanagers),
                    ("status/buildinfo", status.buildinfo),
                    ("status/runtimeinfo", status.runtimeinfo),
                    ("status/flags", status.flags),
                    ("status/config", status.config),
                    ("status/self_metrics", status.self_metrics),
                    ("features", status.features),
                    ("notifications", status.notifications),
                )
            ),
            *(route(f"/api/v1/search/{kind}", READ, status.search) for kind in _SEARCHED),
            self._answering.plain("/api/v1/openapi.yaml", GET, status.openapi),
            self._answering.plain("/api/v1/notifications/live", GET, status.live_notifications),
            route("/api/v1/status/walreplay", GET, status.walreplay, before_ready=True),
        ]

    def _of_administrators(self) -> list[Route]:
        return [
            self._answering.route(f"/api/v1/admin/tsdb/{path}", admin.METHODS, handler)
            for path, handler in (
                ("delete_series", self._admin.delete_series),
                ("clean_tombstones", self._admin.clean_tombstones),
                ("snapshot", self._admin.snapshot),
            )
        ]
