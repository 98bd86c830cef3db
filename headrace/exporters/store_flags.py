"""The settings of the ``store`` exporter under the names that Prometheus' command line has for them.

Clients read them from ``/api/v1/status/flags``: the completion of query editors looks at ``enable-feature`` to know
which functions to propose.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.store.api.status import retention_text

if TYPE_CHECKING:
    from headrace.exporters.store import StoreConfig

_MILLISECOND = timedelta(milliseconds=1)


def flags(config: StoreConfig) -> dict[str, str]:
    """Return those settings that Prometheus has as well, printed as it prints them."""
    query = config.query
    return {
        "enable-feature": ",".join(query.enable_features),
        "query.lookback-delta": retention_text(query.lookback_delta // _MILLISECOND),
        "query.max-concurrency": str(query.max_concurrency),
        "query.max-samples": str(query.max_samples),
        "query.timeout": retention_text(query.timeout // _MILLISECOND),
        "storage.tsdb.path": config.directory,
        "storage.tsdb.retention.time": retention_text(config.retention // _MILLISECOND),
        "web.enable-admin-api": str(config.enable_admin_api).lower(),
        "web.listen-address": config.endpoint,
    }
