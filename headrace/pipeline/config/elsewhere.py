"""Components and settings that other collectors have and the daemon has not, with the reason.

A component that knows better says so itself (`headrace.pipeline.config.refusal`); this is asked about what no model
has. A setting with the value it has by default says nothing, and is let pass.
"""

from __future__ import annotations

from typing import Any, Final

_DEFAULTS: Final[dict[str, Any]] = {"transport": "tcp", "keep_alives_enabled": True, "force_attempt_http2": True}
"""Settings whose default is neither off nor empty."""

_TLS = "OpenSSL chooses what is safe for min_version"
_BUFFERS = "buffers are sized by what they hold"
_HTTP_1 = "requests are HTTP/1.1"
_PEM = "name a file, whose change is noticed"
_GC = "there is no Go runtime to tune"
_METADATA = "batches hold points, not headers of the requests they came in"

_SIGNALS = "there are metrics alone, neither traces nor logs"
_KUBERNETES = "nobody asks Kubernetes about senders: let the SDK set the attributes of the resource"
_QUEUE = "use sending_queue of the exporter"
_WAY = "send OTLP or remote write, or write a plugin"

_SETTINGS: Final[dict[str, str]] = {
    "auth.request_params": "credentials are taken from headers",
    "balancer_name": "one connection is enough for a server, and a name is resolved anew when it breaks",
    "cors.exposed_headers": "answers have no headers of their own",
    "compression_algorithms": "whatever can be decompressed is taken",
    "cookies": "no cookies are kept",
    "disable_keep_alives": "see idle_conn_timeout",
    "force_attempt_http2": _HTTP_1,
    "http2_ping_timeout": _HTTP_1,
    "http2_read_idle_timeout": _HTTP_1,
    "include_metadata": _METADATA,
    "keep_alives_enabled": "see idle_timeout",
    "max_idle_conns": "see max_conns_per_host and idle_conn_timeout",
    "max_idle_conns_per_host": "see max_conns_per_host and idle_conn_timeout",
    "metadata_cardinality_limit": _METADATA,
    "metadata_keys": _METADATA,
    "middlewares": "there are none",
    "read_buffer_size": _BUFFERS,
    "response_headers": "answers have no headers of their own",
    "tls.ca_file": "clients are checked by client_ca_file",
    "tls.ca_pem": _PEM,
    "tls.cert_pem": _PEM,
    "tls.cipher_suites": _TLS,
    "tls.curve_preferences": _TLS,
    "tls.include_system_ca_certs_pool": "the authorities are those of the file, or those of the system without one",
    "tls.key_pem": _PEM,
    "tls.max_version": "there is no version above 1.3 to keep out",
    "tls.tpm": "keys are read from files",
    "tls_config.max_version": "there is no version above 1.3 to keep out",
    "transport": "listeners are TCP",
    "write_buffer_size": _BUFFERS,
}
"""Reasons by name, the last part or the last two; for the blocks that many components share."""

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
    ("exporters", "debug"): {
        "output_paths": "it prints to the log, or to standard output with use_internal_logger: false"
    },
}
"""Reasons by component and name."""

_TYPES: Final[dict[tuple[str, str], str]] = {
    ("extensions", "zpages"): "zpages shows traces of the Collector itself; ask the API or the metrics on port 8888",
    ("extensions", "pprof"): "pprof profiles Go programs; attach py-spy to the process",
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
    names = [str(part) for part in path if isinstance(part, str)]
    own = _OF_TYPES.get((section, type_), {}).get(names[-1], "")
    return own or _SETTINGS.get(".".join(names[-2:]), "") or _SETTINGS.get(names[-1], "")


def says_nothing(path: tuple[str | int, ...], value: object) -> bool:
    """Tell whether a setting that there is not has the value that it has where nobody sets it."""
    return not value if path[-1] not in _DEFAULTS else value == _DEFAULTS[str(path[-1])]
