"""Let others scrape; the Collector's ``prometheus`` exporter."""

from headrace.exporters.prometheus.factory import FACTORY

__all__ = ["FACTORY"]
