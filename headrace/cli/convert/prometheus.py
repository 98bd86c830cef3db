"""A ``prometheus.yml`` as a configuration of ours: jobs into a receiver, each ``remote_write`` into an exporter.

Source:
    Prometheus, "Configuration".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headrace.cli.convert.result import NAME, Converted
from headrace.pipeline.config.source import read
from headrace.pipeline.errors import ConfigError
from headrace.receivers.prometheus import unsupported
from headrace.receivers.prometheus.config import PrometheusYml

ELSEWHERE = {
    "rule_files": "rules are not evaluated here; keep evaluating them where they are",
    "alerting": "alerts are not sent from here",
    "remote_read": "queries read the store alone",
    "tracing": "the daemon does not send traces",
    "otlp": "names are those of the exporter; use the receiver otlp",
    "runtime": "it tunes Go's runtime",
}
_RULES_ONLY = ("evaluation_interval",)
_UNSAFE = {"TLS10", "TLS11"}
_OWN_ADDRESS = "127.0.0.1:9090"
_RETRIES = {"min_backoff": "initial_interval", "max_backoff": "max_interval"}
_SAME_TLS = ("ca_file", "cert_file", "key_file", "insecure_skip_verify")


def convert(path: str, data_dir: str = "") -> Converted:
    """Convert a file.

    Args:
        path: The file.
        data_dir: Where a store of ours keeps its data; without it there is one only if nothing else takes the samples.

    Raises:
        ConfigError: It is no YAML, or no prometheus.yml.
    """
    try:
        document = read(Path(path).read_text(), path).value or {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(path, "must be a mapping")
    made = Converted()
    convert_document(made, document, Path(path).parent)
    writes = document.get("remote_write") or []
    if data_dir or not writes:
        _store(made, document, data_dir or "./data")
    elif document.get("storage"):
        made.miss("storage", "there is no store where samples are only sent on; add one with --store DIR")
    return made


def convert_document(made: Converted, document: dict[str, Any], folder: Path) -> None:
    """Put the jobs and remote writes of a document into `made`."""
    for name in document:
        if name not in {"global", "scrape_configs", "scrape_config_files", "remote_write", "storage", *ELSEWHERE}:
            raise ConfigError(name, "is no section of a prometheus.yml")
    for name, why in ELSEWHERE.items():
        if document.get(name):
            made.miss(name, why)
    shared = dict(document.get("global") or {})
    for name in _RULES_ONLY:
        if shared.pop(name, None) is not None:
            made.miss(f"global.{name}", ELSEWHERE["rule_files"])
    _leave_out(made, shared, unsupported.GLOBAL, "global")
    labels = shared.get("external_labels") or {}
    jobs = [_job(made, job) for job in _jobs(document, folder)]
    if jobs:
        made.put("receivers", NAME, {"config": {**({"global": shared} if shared else {}), "scrape_configs": jobs}})
    else:
        _check_global(shared)
        _pushed(made)
    for number, write in enumerate(document.get("remote_write") or []):
        remote_write(made, write, number, labels)


def _jobs(document: dict[str, Any], folder: Path) -> list[Any]:
    """Return the jobs of a document and of the files that it names."""
    jobs = list(document.get("scrape_configs") or [])
    for pattern in document.get("scrape_config_files") or []:
        path = folder / pattern
        for file in sorted(path.parent.glob(path.name)):
            found = read(file.read_text(), str(file)).value or {}
            jobs += found.get("scrape_configs") or []
    return jobs


def _job(made: Converted, job: Any) -> Any:
    """Return a job without what the receiver does not have."""
    if not isinstance(job, dict):
        return job  # to be refused with its place
    job, where = dict(job), f"job {job.get('job_name')}"
    _leave_out(made, job, unsupported.JOB, where)
    if isinstance(job.get("tls_config"), dict):
        job["tls_config"] = _safe(made, job["tls_config"], f"{where}.tls_config")
    return job


def _safe(made: Converted, tls: dict[str, Any], key: str) -> dict[str, Any]:
    """Return settings of TLS without a version that is not safe."""
    if tls.get("min_version") not in _UNSAFE:
        return tls
    made.miss(f"{key}.min_version", f"{tls['min_version']} is not safe: it is TLS12 here")
    return {name: value for name, value in tls.items() if name != "min_version"}


def _leave_out(made: Converted, options: dict[str, Any], known: dict[str, str], where: str) -> None:
    """Take options out of a mapping that have no counterpart; those that say nothing are not worth a word."""
    for name in [name for name in options if name in known]:
        if options.pop(name):
            made.miss(f"{where}.{name}", known[name])


def _check_global(options: dict[str, Any]) -> None:
    """Find mistakes that are in no receiver's settings."""
    try:
        PrometheusYml.model_validate({"global": options})
    except ValidationError as error:
        found = error.errors()[0]
        raise ConfigError(".".join(map(str, found["loc"])), str(found["msg"])) from None


def _pushed(made: Converted) -> None:
    """Take what senders bring to a Prometheus, where there is nothing to scrape."""
    made.miss("scrape_configs", f"there are no jobs: remote write and OTLP are taken at {_OWN_ADDRESS}")
    made.put("receivers", "prometheus_remote_write", {"endpoint": _OWN_ADDRESS})
    path = "/api/v1/otlp/v1/metrics"
    made.put("receivers", "otlp", {"protocols": {"http": {"endpoint": _OWN_ADDRESS, "metrics_url_path": path}}})


def remote_write(made: Converted, write: dict[str, Any], number: int, labels: dict[str, str]) -> None:
    """Make an exporter, and a pipeline that ends in it."""
    key = f"remote_write[{number}]"
    if not isinstance(write, dict):
        raise ConfigError(key, "is empty")
    write = dict(write)
    name = str(write.pop("name", "") or (number + 1))
    if not write.get("url"):
        raise ConfigError(f"{key}.url", "is required")
    settings: dict[str, Any] = {"endpoint": _url(made, write.pop("url"), key)}
    if "remote_timeout" in write:
        settings["timeout"] = write.pop("remote_timeout")
    if labels:
        settings["external_labels"] = labels
    headers = write.pop("headers", None)
    if headers:
        settings["headers"] = headers
    _credentials(made, write, settings, name)
    _tls(made, write.pop("tls_config", None) or {}, settings, f"{key}.tls_config")
    _queue(made, write.pop("queue_config", None) or {}, settings, f"{key}.queue_config")
    processors = []
    rules = write.pop("write_relabel_configs", None)
    if rules:
        processors.append(made.put("processors", f"relabel/{name}", {"relabel_configs": rules}))
    for option, value in write.items():
        if value:
            made.miss(f"{key}.{option}", "has no counterpart in the exporter prometheus_remote_write")
    exporter = f"prometheus_remote_write/{name}"
    if exporter in made.document.get("exporters", {}):
        raise ConfigError(f"{key}.name", f"{name!r} is the name of another one")
    made.put("exporters", exporter, settings)
    made.pipeline(f"metrics/{name}", made.receivers, processors, [exporter])


def _url(made: Converted, url: str, key: str) -> str:
    if "://" in url:
        return url
    made.miss(f"{key}.url", f"{url} has no scheme: http:// was put in front of it")
    return f"http://{url}"


def _credentials(made: Converted, write: dict[str, Any], settings: dict[str, Any], name: str) -> None:
    """Turn credentials into an extension that the exporter names."""
    basic = write.pop("basic_auth", None)
    authorization = write.pop("authorization", None) or {}
    token, file = write.pop("bearer_token", None), write.pop("bearer_token_file", None)
    sigv4 = write.pop("sigv4", None)
    given = [one for one in (basic, authorization, token or file, sigv4) if one]
    if len(given) > 1:
        raise ConfigError(f"remote_write {name}", "has more than one kind of credentials")
    token, file = token or authorization.get("credentials"), file or authorization.get("credentials_file")
    if basic:
        made.put("extensions", f"basic_auth/{name}", {"client_auth": basic})
    elif token or file:
        bearer: dict[str, Any] = {"scheme": authorization.get("type", "Bearer")}
        bearer |= {"filename": file} if file else {"token": token}
        made.put("extensions", f"bearer_token_auth/{name}", bearer)
    elif sigv4 is not None:
        _sigv4(made, sigv4, name)
    else:
        return
    settings["auth"] = {"authenticator": made.document["service"]["extensions"][-1]}


def _sigv4(made: Converted, sigv4: dict[str, Any], name: str) -> None:
    names = {"access_key": "access_key_id", "secret_key": "secret_access_key", "region": "region", "profile": "profile"}
    for option in sigv4:
        if option not in names:
            made.miss(f"remote_write {name}: sigv4.{option}", "is not supported")
    made.put("extensions", f"sigv4_auth/{name}", {names[key]: value for key, value in sigv4.items() if key in names})


def _tls(made: Converted, tls: dict[str, Any], settings: dict[str, Any], key: str) -> None:
    if tls and settings["endpoint"].startswith("http://"):
        made.miss(key, "has no effect on an http:// URL")
        return
    tls = _safe(made, tls, key)
    found = {name: tls[name] for name in _SAME_TLS if name in tls}
    if "server_name" in tls:
        found["server_name_override"] = tls["server_name"]
    if "min_version" in tls:  # TLS12
        found["min_version"] = "1." + str(tls["min_version"])[-1]
    for name in tls:
        if name not in {*_SAME_TLS, "server_name", "min_version"}:
            made.miss(f"{key}.{name}", "is not supported: give a file")
    if found:
        settings["tls"] = found


def _queue(made: Converted, queue: dict[str, Any], settings: dict[str, Any], key: str) -> None:
    retries = {ours: queue[theirs] for theirs, ours in _RETRIES.items() if theirs in queue}
    if retries:
        settings["retry_on_failure"] = retries
    for name in queue:
        if name not in _RETRIES:
            made.miss(f"{key}.{name}", "see sending_queue for the limits of the queue")


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
