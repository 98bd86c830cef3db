"""A ``prometheus.yml`` as a configuration of ours: jobs into a receiver, each ``remote_write`` into an exporter.

Source:
    Prometheus, "Configuration".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headrace.cli.convert.prometheus_yml import Rest
from headrace.cli.convert.remote_write import convert_remote_write, safe
from headrace.cli.convert.result import NAME, Converted, Reference
from headrace.pipeline.config.checking import checked
from headrace.pipeline.config.faults import ConfigFaults, Fault, hint, joined
from headrace.pipeline.config.source import Document, read
from headrace.pipeline.errors import ConfigError
from headrace.receivers.prometheus import unsupported
from headrace.receivers.prometheus.config import PrometheusYml

ELSEWHERE = {
    "rule_files": "rules are not evaluated here; keep evaluating them where they are",
    "alerting": "alerts are not sent from here",
    "remote_read": "queries read the store alone",
    "tracing": "the daemon does not send traces",
    "runtime": "it tunes Go's runtime",
}
_RULES_ONLY = ("evaluation_interval",)
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)\}|\$(\w+)")
_OWN_ADDRESS = "127.0.0.1:9090"
_SECTIONS = ("global", "scrape_configs", "scrape_config_files", "remote_write", "storage", "otlp")


def convert(path: str, data_dir: str = "") -> Converted:
    """Convert a file.

    Args:
        path: The file.
        data_dir: Where a store of ours keeps its data; without it there is one only if nothing else takes the samples.

    Raises:
        ConfigError: It is no YAML, or no prometheus.yml.
    """
    document = check(path)
    _refer(document.get("global") or {})
    made = Converted()
    convert_scraping(made, document, Path(path).parent)
    if document.get("otlp") or not made.receivers:
        _pushed(made, document.get("otlp") or {})
    writes = document.get("remote_write") or []
    shared = {
        "external_labels": (document.get("global") or {}).get("external_labels"),
        "translation_strategy": (document.get("otlp") or {}).get("translation_strategy"),
    }
    for number, write in enumerate(writes):
        convert_remote_write(made, write, number, {name: value for name, value in shared.items() if value})
    if data_dir or not writes:
        _store(made, document, data_dir or "./data")
    elif document.get("storage"):
        made.miss("storage", "there is no store where samples are only sent on; add one with --store DIR")
    return made


def check(path: str) -> dict[str, Any]:
    """Return what a file says, all of which but its jobs has been checked.

    Raises:
        ConfigError: It cannot be read, is no YAML, or says what a prometheus.yml must not say.
    """
    found = _read(path)
    body: dict[str, Any] = found.value
    faults: list[Fault] = []

    def tell(place: tuple[str | int, ...], why: str) -> None:
        faults.append(Fault(found.place(place), joined(place), why))

    for name in body:
        if name not in {*_SECTIONS, *ELSEWHERE}:
            tell((name,), f"is no section of a prometheus.yml{hint(str(name), (*_SECTIONS, *ELSEWHERE))}")
    if not isinstance(body.get("global") or {}, dict):
        tell(("global",), "must be a mapping")
    if not isinstance(body.get("scrape_configs") or [], list):
        tell(("scrape_configs",), "must be a list")
    rest = {name: value for name, value in body.items() if name in Rest.model_fields and value is not None}
    checked(Rest, rest, (), found, tell)
    if faults:
        raise ConfigFaults(faults)
    return body


def _read(path: str) -> Document:
    """Return a file of Prometheus, a mapping.

    Raises:
        ConfigError: It is none.
    """
    try:
        found = read(Path(path).read_text(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"cannot be read: {error}") from None
    if found.value is None:
        found.value = {}
    if not isinstance(found.value, dict):
        raise ConfigError(path, "must be a mapping")
    return found


def _refer(options: dict[str, Any]) -> None:
    """Write the environment's variables in external labels as references: there alone Prometheus replaces them."""
    labels = options.get("external_labels")
    if isinstance(labels, dict):
        options["external_labels"] = {
            name: Reference(_VARIABLE.sub(_reference, text)) if isinstance(text, str) else text
            for name, text in labels.items()
        }


def _reference(found: re.Match[str]) -> str:
    name = found[1] or found[2]
    return "$$" if name is None else "" if name[0].isdigit() else f"${{env:{name}}}"


def convert_scraping(made: Converted, document: dict[str, Any], folder: Path) -> None:
    """Put the jobs of a document into `made`, and what is known to have no counterpart."""
    for name, why in ELSEWHERE.items():
        if document.get(name):
            made.miss(name, why)
    shared = dict(document.get("global") or {})
    for name in _RULES_ONLY:
        if shared.pop(name, None) is not None:
            made.miss(f"global.{name}", ELSEWHERE["rule_files"])
    _leave_out(made, shared, unsupported.GLOBAL, "global")
    jobs = [_job(made, job) for job in _jobs(document, folder)]
    if jobs:
        made.put("receivers", NAME, {"config": {**({"global": shared} if shared else {}), "scrape_configs": jobs}})
    else:
        _check_global(shared)


def _jobs(document: dict[str, Any], folder: Path) -> list[Any]:
    """Return the jobs of a document and of the files that it names."""
    jobs = list(document.get("scrape_configs") or [])
    for pattern in document.get("scrape_config_files") or []:
        path = folder / pattern
        for file in sorted(path.parent.glob(path.name)):
            found = _read(str(file))
            for name in found.value:
                if name != "scrape_configs":
                    raise ConfigFaults([Fault(found.place((name,)), name, "only scrape_configs may stand here")])
            more = found.value.get("scrape_configs") or []
            if not isinstance(more, list):
                raise ConfigFaults([Fault(found.place(("scrape_configs",)), "scrape_configs", "must be a list")])
            jobs += more
    return jobs


def _job(made: Converted, job: Any) -> Any:
    """Return a job without what the receiver does not have."""
    if not isinstance(job, dict):
        return job  # to be refused with its place
    job, where = dict(job), f"job {job.get('job_name')}"
    _leave_out(made, job, unsupported.JOB, where)
    if isinstance(job.get("tls_config"), dict):
        job["tls_config"] = safe(made, job["tls_config"], f"{where}.tls_config")
    return job


def _leave_out(made: Converted, options: dict[str, Any], known: dict[str, str], where: str) -> None:
    """Take options out of a mapping that have no counterpart; those that say nothing are not worth a word."""
    for name in [name for name in options if name in known]:
        if name.endswith("_configs") and not isinstance(options[name], list | None):
            continue  # to be refused with its place
        if options.pop(name):
            made.miss(f"{where}.{name}", known[name])


def _check_global(options: dict[str, Any]) -> None:
    """Find mistakes that are in no receiver's settings."""
    try:
        PrometheusYml.model_validate({"global": options})
    except ValidationError as error:
        found = error.errors()[0]
        raise ConfigError(".".join(map(str, found["loc"])), str(found["msg"])) from None


def _pushed(made: Converted, otlp: dict[str, Any]) -> None:
    """Take what senders bring to a Prometheus; that is all there is where there are no jobs."""
    if not made.receivers:
        made.miss("scrape_configs", f"there are no jobs: remote write and OTLP are taken at {_OWN_ADDRESS}")
        made.put("receivers", "prometheus_remote_write", {"endpoint": _OWN_ADDRESS})
    path = "/api/v1/otlp/v1/metrics"
    made.put("receivers", "otlp", {"protocols": {"http": {"endpoint": _OWN_ADDRESS, "metrics_url_path": path}}})
    for option, value in otlp.items():
        if value and option != "translation_strategy":
            made.miss(f"otlp.{option}", "names and labels are as the exporter makes them")


def _store(made: Converted, document: dict[str, Any], data_dir: str) -> None:
    """Keep samples as Prometheus does."""
    settings: dict[str, Any] = {"directory": data_dir}
    storage = document.get("storage") or {}
    tsdb = dict(storage.get("tsdb") or {})
    retention = tsdb.pop("retention", None) or {}
    for theirs, ours in (("time", "retention"), ("size", "retention_size")):
        if retention.get(theirs):
            settings[ours] = retention[theirs]
    if "out_of_order_time_window" in tsdb:
        settings["out_of_order_time_window"] = tsdb.pop("out_of_order_time_window")
    for name, value in {**tsdb, **{key: one for key, one in storage.items() if key != "tsdb"}}.items():
        if value:
            made.miss(f"storage.{name}", "has no counterpart in the exporter store")
    if retention.get("percentage"):
        made.miss("storage.tsdb.retention.percentage", "give retention_size of the exporter store")
    made.put("exporters", "store", settings)
    made.pipeline("metrics/store", made.receivers, [], ["store"])
