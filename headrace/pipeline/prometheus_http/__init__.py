"""What Prometheus calls ``http_config``: HTTP clients with its options, for scraping and for discovery."""

from headrace.pipeline.prometheus_http.client import PrometheusClient
from headrace.pipeline.prometheus_http.config import HttpConfig, check_url
from headrace.pipeline.prometheus_http.texts import NUMBERS_ARE_TEXTS

__all__ = ["NUMBERS_ARE_TEXTS", "HttpConfig", "PrometheusClient", "check_url"]
