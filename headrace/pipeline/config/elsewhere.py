"""Components and settings that other collectors have and the daemon has not, with the reason.

A component that knows better says so itself (`headrace.pipeline.config.refusal`); this is asked about what no model
has. A setting with the value it has by default says nothing, and is let pass.
"""

from __future__ import annotations

from typing import Final

_GC = "there is no Go runtime to tune"

_SIGNALS = "there are metrics alone, neither traces nor logs"
_KUBERNETES = "nobody asks Kubernetes about senders: let the SDK set the attributes of the resource"
_QUEUE = "use sending_queue of the exporter"
_WAY = "send OTLP or remote write, or write a plugin"

_SETTINGS: Final[dict[str, str]] = {
    "middlewares": "extensions cannot be put around requests",
}
"""Reasons by name, for settings that many components share."""

_BESIDE: Final = {"http": "its settings stand beside endpoint"}

_OF_TYPES: Final[dict[tuple[str, str], dict[str, str]]] = {
    ("receivers", "otlp"): {
        "traces_url_path": "there are metrics alone",
        "logs_url_path": "there are metrics alone",
    },
    ("receivers", "prometheus"): {
        "trim_metric_suffixes": "metrics keep the names they are scraped with: see metricstransform and relabel",
        "target_allocator": "targets are shared out without one: see the option sharding",
        "api_server": "targets are shown by the store's API",
    },
    ("processors", "memory_limiter"): {
        f"{bound}_gc_interval_when_{limit}_limited": _GC for bound in ("min", "max") for limit in ("soft", "hard")
    },
    ("processors", "stream_aggregate"): {
        "name": "rules are told apart by what they say",
        "enable_windows": "samples count for the interval they come in: see ignore_old_samples",
    },
    ("exporters", "debug"): {
        "output_paths": "it prints to the log, or to standard output with use_internal_logger: false",
        "sending_queue": "what is printed waits nowhere",
    },
    ("exporters", "prometheus_remote_write"): _BESIDE,
    ("exporters", "prometheusremotewrite"): _BESIDE,
}
"""Reasons by component and name."""

_TYPES: Final[dict[tuple[str, str], str]] = {
    ("extensions", "memory_ballast"): "memory_ballast tunes Go's garbage collector; leave it out",
    **dict.fromkeys(
        (
            ("processors", name)
            for name in ("probabilistic_sampler", "tail_sampling", "span", "groupbytrace", "logdedup")
        ),
        _SIGNALS,
    ),
    **dict.fromkeys((("receivers", name) for name in ("jaeger", "zipkin", "filelog", "file_log", "syslog")), _SIGNALS),
    **dict.fromkeys((("connectors", name) for name in ("spanmetrics", "span_metrics", "servicegraph")), _SIGNALS),
    **dict.fromkeys((("processors", name) for name in ("k8sattributes", "k8s_attributes")), _KUBERNETES),
    **dict.fromkeys((("processors", name) for name in ("queuebatch", "queue_batch")), _QUEUE),
    **dict.fromkeys((("exporters", name) for name in ("kafka", "clickhouse", "loadbalancing", "load_balancing")), _WAY),
    **dict.fromkeys((("receivers", name) for name in ("kafka", "statsd", "influxdb", "carbon")), _WAY),
    ("connectors", "count"): "use stream_aggregate with count_samples",
    ("connectors", "signaltometrics"): "use stream_aggregate",
    ("extensions", "opamp"): "there is no remote management: change the file, and reload",
    ("extensions", "oidc"): "use bearer_token_auth",
}
"""Reasons by section and type."""


def why_no_type(section: str, type_: str) -> str:
    """Return why there is no such component; empty where it is simply unknown."""
    return _TYPES.get((section, type_), "")


def why_no_setting(section: str, type_: str, path: tuple[str | int, ...]) -> str:
    """Return why a component has no such setting; empty where it is simply unknown.

    Args:
        section: Such as ``receivers``.
        type_: Of the component.
        path: Of the setting in the component's settings.
    """
    name = str(path[-1])
    return _OF_TYPES.get((section, type_), {}).get(name, "") or _SETTINGS.get(name, "")
