"""``global`` and the jobs of a ``prometheus.yml``: the receiver's settings, and what these refuse.

Source:
    Prometheus 3.14, "Configuration", sections configuration file and scrape_config.
"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from headrace.cli.convert.prometheus_yml.clients import HttpClient, HttpSd, KubernetesSd
from headrace.cli.convert.prometheus_yml.discoveries import OtherDiscoveries
from headrace.pipeline.discovery.kinds import gather_offered
from headrace.pipeline.prometheus_values import Duration
from headrace.receivers.prometheus.config import GlobalConfig, ScrapeConfig


class Global(GlobalConfig):
    """What all jobs and rules share."""

    rule_query_offset: Duration | None = None
    query_log_file: str = ""
    scrape_failure_log_file: str = ""
    convert_classic_histograms_to_nhcb: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return options


class ScrapeJob(OtherDiscoveries, HttpClient, ScrapeConfig):
    """A job."""

    scrape_failure_log_file: str = ""
    convert_classic_histograms_to_nhcb: bool | None = None
    http_sd_configs: tuple[HttpSd, ...] = ()
    kubernetes_sd_configs: tuple[KubernetesSd, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return gather_offered(options)
