"""Scrape targets as Prometheus does; the Collector's ``prometheus`` receiver."""

from headrace.receivers.prometheus.receiver import FACTORY

__all__ = ["FACTORY"]
