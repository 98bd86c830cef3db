"""A ``prometheus.yml`` as a configuration of ours: jobs into a receiver, each ``remote_write`` into an exporter.

Source:
    Prometheus, "Configuration".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from headrace.cli.convert.prometheus_yml.check import check_file
from headrace.cli.convert.remote_write import convert_remote_write, safe
from headrace.cli.convert.result import NAME, Converted, Reference
from headrace.pipeline.discovery.kinds import kinds
from headrace.pipeline.prometheus_values import parse_duration, parse_size
from headrace.receivers.prometheus import unsupported
from headrace.receivers.prometheus.config import GlobalConfig, ScrapeConfig

if TYPE_CHECKING:
    from pydantic import BaseModel

    from headrace.cli.convert.prometheus_yml.check import Checked

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
_OTLP_DEFAULTS = {"label_name_underscore_sanitization": True, "label_name_preserve_multiple_underscores": True}


def convert(path: str, data_dir: str = "") -> Converted:
    """Convert a file.

    Args:
        path: The file.
        data_dir: Where a store of ours keeps its data; without it there is one only if nothing else takes the samples.

    Returns:
        The configuration; where the file has faults, what is right in it.
    """
    checked = check_file(path)
    made = Converted(faults=checked.faults)
    document = checked.sections
    _refer(document.get("global") or {})
    convert_scraping(made, checked)
    if document.get("otlp") or not made.receivers:
        _pushed(made, document.get("otlp") or {})
    writes = document.get("remote_write") or []
    shared = {
        "external_labels": (document.get("global") or {}).get("external_labels"),
        "translation_strategy": (document.get("otlp") or {}).get("translation_strategy"),
    }
    for number, write in zip(checked.numbers.get("remote_write", ()), writes, strict=True):
        convert_remote_write(made, write, number, {name: value for name, value in shared.items() if value})
    if data_dir or not writes:
        _store(made, document, data_dir or "./data")
    elif document.get("storage"):
        made.miss("storage", "there is no store where samples are only sent on; add one with --store DIR")
    return made


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


def convert_scraping(made: Converted, checked: Checked) -> None:
    """Put the jobs of a file into `made`, and what is known to have no counterpart."""
    document = checked.sections
    for what, why in checked.notes:
        made.miss(what, why)
    for name, why in ELSEWHERE.items():
        if document.get(name):
            made.miss(name, why)
    shared = dict(document.get("global") or {})
    for name in _RULES_ONLY:
        if shared.pop(name, None) is not None:
            made.miss(f"global.{name}", ELSEWHERE["rule_files"])
    _leave_out(made, shared, unsupported.GLOBAL, "global")
    _leave_out(made, shared, _beside(shared, GlobalConfig), "global")
    jobs = [_job(made, job) for job in document.get("scrape_configs", [])]
    if jobs:
        made.put("receivers", NAME, {"config": {**({"global": shared} if shared else {}), "scrape_configs": jobs}})


def _job(made: Converted, job: dict[str, Any]) -> dict[str, Any]:
    """Return a job without what the receiver does not have."""
    job, where = dict(job), f"job {job['job_name']}"
    _leave_out(made, job, unsupported.JOB, where)
    offered = {f"{kind}_sd_configs" for kind in kinds()}
    _leave_out(made, job, {name: why for name, why in _beside(job, ScrapeConfig).items() if name not in offered}, where)
    if "tls_config" in job:
        job["tls_config"] = safe(made, job["tls_config"], f"{where}.tls_config")
    return job


def _beside(options: dict[str, Any], model: type[BaseModel]) -> dict[str, str]:
    """Return the options that a model does not have, each with the reason that there is for them all."""
    return {name: "has no counterpart in the receiver prometheus" for name in options if name not in model.model_fields}


def _leave_out(made: Converted, options: dict[str, Any], known: dict[str, str], where: str) -> None:
    """Take options out of a mapping that have no counterpart; those that say nothing are not worth a word."""
    for name in [name for name in options if name in known]:
        if options.pop(name):
            made.miss(f"{where}.{name}", known[name])


def _pushed(made: Converted, otlp: dict[str, Any]) -> None:
    """Take what senders bring to a Prometheus; that is all there is where there are no jobs."""
    if not made.receivers:
        if not made.faults:  # else there may be jobs among what is wrong
            made.miss("scrape_configs", f"there are no jobs: remote write and OTLP are taken at {_OWN_ADDRESS}")
        made.put("receivers", "prometheus_remote_write", {"endpoint": _OWN_ADDRESS})
    path = "/api/v1/otlp/v1/metrics"
    made.put("receivers", "otlp", {"protocols": {"http": {"endpoint": _OWN_ADDRESS, "metrics_url_path": path}}})
    for option, value in otlp.items():
        if value != _OTLP_DEFAULTS.get(option, False) and option != "translation_strategy":
            made.miss(f"otlp.{option}", "names and labels are as the exporter makes them")


def _store(made: Converted, document: dict[str, Any], data_dir: str) -> None:
    """Keep samples as Prometheus does."""
    settings: dict[str, Any] = {"directory": data_dir}
    storage = document.get("storage") or {}
    tsdb = dict(storage.get("tsdb") or {})
    retention = tsdb.pop("retention", None) or {}
    if parse_duration(retention.get("time", 0)):
        settings["retention"] = retention["time"]
    if size := parse_size(retention.get("size", 0)):
        settings["retention_size"] = size  # as a number: GB are powers of 1024 there, and of 1000 here
    if "out_of_order_time_window" in tsdb:
        settings["out_of_order_time_window"] = tsdb.pop("out_of_order_time_window")
    rest = {f"tsdb.{name}": value for name, value in tsdb.items()}
    for name, value in {**rest, **{name: one for name, one in storage.items() if name != "tsdb"}}.items():
        if value:
            made.miss(f"storage.{name}", "has no counterpart in the exporter store")
    if float(retention.get("percentage", 0)):
        made.miss("storage.tsdb.retention.percentage", "give retention_size of the exporter store")
    made.put("exporters", "store", settings)
    made.pipeline("metrics/store", made.receivers, [], ["store"])
