"""Options of prometheus.yml that this receiver knows and does not have: they are refused by name.

An option that is set to what it is by default (``false``, ``0``, nothing) says nothing and is let pass.
"""

from __future__ import annotations

_NO_NATIVE = "native histograms are not scraped: the text formats have none"
_DISCOVERY = "is a kind of service discovery that is not supported: use static_configs or file_sd_configs"

SECTIONS = {
    "rule_files": "rules are evaluated by the store, not by the receiver",
    "alerting": "alerts are sent by the store's rules, not by the receiver",
    "remote_write": "use the exporter prometheus_remote_write",
    "remote_read": "reading from other stores is not supported",
    "storage": "use the settings of the store exporter",
    "tracing": "the daemon does not send traces",
    "otlp": "use the receiver otlp",
    "runtime": "there is no Go runtime to tune",
    "scrape_config_files": "list the jobs under scrape_configs",
}
"""Sections of the file beside ``global`` and ``scrape_configs``."""

GLOBAL = {
    "rule_query_offset": "there are no rules here",
    "query_log_file": "there are no queries here",
    "scrape_failure_log_file": "failures are in the log of the daemon",
    "scrape_native_histograms": _NO_NATIVE,
    "convert_classic_histograms_to_nhcb": _NO_NATIVE,
    "always_scrape_classic_histograms": _NO_NATIVE,
    "scrape_classic_histograms": _NO_NATIVE,
}
"""Options of ``global``."""

_HTTP = {
    "oauth2": "use authorization, or basic_auth",
    "no_proxy": "is not supported",
    "proxy_from_environment": "name the proxy in proxy_url",
    "proxy_connect_header": "is not supported",
    "http_headers": "is not supported",
}

JOB = {
    **_HTTP,
    **{name: why for name, why in GLOBAL.items() if name.startswith(("scrape_", "convert_", "always_"))},
    "native_histogram_bucket_limit": _NO_NATIVE,
    "native_histogram_min_bucket_factor": _NO_NATIVE,
    **{
        f"{kind}_sd_configs": _DISCOVERY
        for kind in (
            "aws", "azure", "consul", "digitalocean", "dns", "docker", "dockerswarm", "ec2", "eureka", "gce",
            "hetzner", "http", "ionos", "kubernetes", "kuma", "lightsail", "linode", "marathon", "nerve", "nomad",
            "oci", "openstack", "outscale", "ovhcloud", "puppetdb", "scaleway", "serverset", "stackit", "triton",
            "uyuni", "vultr",
        )
    },
}  # fmt: skip
"""Options of a job in ``scrape_configs``."""
