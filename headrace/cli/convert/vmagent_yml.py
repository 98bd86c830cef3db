"""What a ``-promscrape.config`` of vmagent may hold beside what a ``prometheus.yml`` may.

Source:
    VictoriaMetrics, "vmagent", "scrape_config enhancements", and "Relabeling".
"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from headrace.cli.convert.prometheus_yml.check import Dialect
from headrace.cli.convert.prometheus_yml.clients import Basic, Credentials, OAuth, Tls
from headrace.cli.convert.prometheus_yml.jobs import Global, ScrapeJob
from headrace.pipeline.config import Secret
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.prometheus_http.texts import SecretText
from headrace.pipeline.prometheus_values import Duration
from headrace.pipeline.relabel import RelabelConfig

_ONLY_THERE = {
    "if": "rules have no conditions: match with source_labels and regex",
    "match": "there are no graphite rules",
    "labels": "there are no graphite rules",
}


class VmRule(RelabelConfig):
    """A relabelling rule."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _ONLY_THERE)


class VmGlobal(Global):
    """What all jobs share."""

    relabel_configs: tuple[VmRule, ...] = ()
    metric_relabel_configs: tuple[VmRule, ...] = ()


class VmJob(ScrapeJob):
    """A job."""

    relabel_configs: tuple[VmRule, ...] = ()
    metric_relabel_configs: tuple[VmRule, ...] = ()
    headers: tuple[SecretText, ...] = ()
    max_scrape_size: str = ""
    disable_compression: bool = False
    disable_keepalive: bool = False
    stream_parse: bool = False
    scrape_align_interval: Duration | None = None
    scrape_offset: Duration | None = None
    series_limit: int | None = None
    no_stale_markers: bool | None = None
    consulagent_sd_configs: tuple[dict[str, Any], ...] = ()
    yandexcloud_sd_configs: tuple[dict[str, Any], ...] = ()
    proxy_authorization: Credentials | None = None
    proxy_basic_auth: Basic | None = None
    proxy_bearer_token: SecretText = Secret("")
    proxy_bearer_token_file: str = ""
    proxy_oauth2: OAuth | None = None
    proxy_tls_config: Tls | None = None
    proxy_headers: tuple[SecretText, ...] = ()


VMAGENT = Dialect({"global": VmGlobal}, {"scrape_configs": VmJob})
