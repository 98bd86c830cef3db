"""Options of prometheus.yml that this receiver knows and does not have: they are refused by name.

An option that is set to what it is by default (``false``, ``0``, nothing) says nothing and is let pass.
"""

from __future__ import annotations

_NO_CONVERSION = "classic histograms stay as they are: native ones are scraped where the target has them"
_DISCOVERY = "there is no such discovery: file_sd_configs and http_sd_configs take its place"

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
    "convert_classic_histograms_to_nhcb": _NO_CONVERSION,
    "scrape_classic_histograms": "is now called always_scrape_classic_histograms",
}
"""Options of ``global``."""

JOB = {
    **{name: why for name, why in GLOBAL.items() if name.startswith(("scrape_", "convert_", "always_"))},
    **{
        f"{kind}_sd_configs": _DISCOVERY
        for kind in (
            "aws", "azure", "consul", "digitalocean", "docker", "dockerswarm", "ec2", "eureka", "gce",
            "hetzner", "ionos", "kuma", "lightsail", "linode", "marathon", "nerve", "nomad",
            "oci", "openstack", "outscale", "ovhcloud", "puppetdb", "scaleway", "serverset", "stackit", "triton",
            "uyuni", "vultr",
        )
    },
}  # fmt: skip
"""Options of a job in ``scrape_configs``."""
