"""From an address and its labels to a target: the labels its series get, and the URL that is fetched.

Source:
    Prometheus, "Configuration", sections scrape_config and relabel_config.
"""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from headrace.pipeline.discovery import ADDRESS
from headrace.pipeline.prometheus_values import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.receivers.prometheus.job import Job

_PARAM = "__param_"

Pairs = tuple[tuple[str, str], ...]
Place = tuple[Pairs, str]


@dataclass(frozen=True, slots=True)
class Target:
    """Something to scrape.

    Attributes:
        discovered: Labels before relabelling.
        labels: Labels that its series get, sorted.
        url: What is fetched.
        interval: Time between two scrapes.
        timeout: Time for one.
    """

    discovered: Pairs
    labels: Pairs
    url: str
    interval: timedelta
    timeout: timedelta

    @property
    def identity(self) -> tuple[Pairs, str, timedelta, timedelta]:
        """What makes two targets the same, however they were discovered."""
        return self.labels, self.url, self.interval, self.timeout

    @property
    def place(self) -> Place:
        """What its series depend on, however often it is scraped."""
        return self.labels, self.url

    def offset_ns(self, seed: int) -> int:
        """Return where in each interval, counted from 1970, the target is scraped."""
        interval_ns = _nanoseconds(self.interval)
        digest = hashlib.blake2b(repr((self.labels, self.url)).encode("utf-8", "surrogatepass"), digest_size=8)
        return (int.from_bytes(digest.digest(), "little") ^ seed) % interval_ns


def seed_of(external_labels: Pairs) -> int:
    """Return what makes two daemons that scrape the same targets do so at different times."""
    digest = hashlib.blake2b(repr((socket.gethostname(), external_labels)).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def discovered_labels(job: Job, labels: dict[str, str]) -> Pairs:
    """Return the labels that relabelling begins with: those of discovery, and the job's; `labels` is changed."""
    config = job.config
    defaults = {
        "job": config.job_name,
        "__scrape_interval__": format_duration(job.interval),
        "__scrape_timeout__": format_duration(job.timeout),
        "__metrics_path__": config.metrics_path,
        "__scheme__": config.scheme,
    }
    for name, value in defaults.items():
        if not labels.get(name):
            labels[name] = value
    labels |= {_PARAM + name: values[0] for name, values in config.params.items() if values}
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def target_of(job: Job, discovered: Pairs, labels: dict[str, str]) -> Target:
    """Make the target of a label set that relabelling has left; `labels` is changed.

    Raises:
        ValueError: It makes none.
    """
    address = labels.get(ADDRESS, "")
    if not address:
        raise ValueError("no address")
    if "/" in address:
        raise ValueError(f'"{address}" is not a valid hostname')
    interval = _time(labels, "__scrape_interval__")
    timeout = _time(labels, "__scrape_timeout__")
    if timeout > interval:
        raise ValueError(f"scrape timeout {timeout} is greater than scrape interval {interval}")
    labels.setdefault("instance", address)
    scheme = labels.get("__scheme__", "")
    if scheme not in {"http", "https"}:
        raise ValueError(f"scheme {scheme!r} is neither http nor https")
    path = labels.get("__metrics_path__", "")
    url = f"{scheme}://{address}{'' if path.startswith('/') else '/'}{path}{_query(job, labels)}"
    public = tuple(sorted((name, value) for name, value in labels.items() if value and not name.startswith("__")))
    return Target(discovered, public, url, interval, timeout)


def _query(job: Job, labels: Mapping[str, str]) -> str:
    params = {name: list(values) for name, values in job.config.params.items()}
    for label, value in labels.items():
        if label.startswith(_PARAM):
            params.setdefault(label.removeprefix(_PARAM), [])[:1] = [value]
    pairs = [f"{quote_plus(name)}={quote_plus(value)}" for name in sorted(params) for value in params[name]]
    return "?" + "&".join(pairs) if pairs else ""


def _time(labels: Mapping[str, str], label: str) -> timedelta:
    duration = parse_duration(labels.get(label, ""))
    if not duration:
        raise ValueError(f"{label} cannot be 0")
    return duration


def _nanoseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1) * 1000
