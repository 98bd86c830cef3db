"""A ``prometheus.yml`` as a configuration of ours: jobs into a receiver, each ``remote_write`` into an exporter.

Source:
    Prometheus, "Configuration".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headrace.cli.convert.result import NAME, Converted
from headrace.pipeline.config.source import read
from headrace.pipeline.errors import ConfigError

ELSEWHERE = {
    "rule_files": "rules are not evaluated here; keep evaluating them where they are",
    "alerting": "alerts are not sent from here",
    "remote_read": "queries read the store alone",
    "tracing": "the daemon does not send traces",
    "otlp": "names are those of the exporter; use the receiver otlp",
    "runtime": "it tunes Go's runtime",
}
_RULES_ONLY = ("evaluation_interval", "rule_query_offset", "query_log_file", "scrape_failure_log_file")
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
    scraping = {
        "global": dict(document.get("global") or {}),
        "scrape_configs": list(document.get("scrape_configs") or []),
    }
    for name in _RULES_ONLY:
        if scraping["global"].pop(name, None) is not None:
            made.miss(f"global.{name}", "belongs to what is not here")
    for pattern in document.get("scrape_config_files") or []:
        files = folder / pattern
        for file in sorted(files.parent.glob(files.name)):
            found = read(file.read_text(), str(file)).value or {}
            scraping["scrape_configs"] += found.get("scrape_configs") or []
    made.put("receivers", NAME, {"config": {key: value for key, value in scraping.items() if value}})
    labels = scraping["global"].get("external_labels") or {}
    for number, write in enumerate(document.get("remote_write") or []):
        remote_write(made, write, number, labels)
    for name, why in ELSEWHERE.items():
        if document.get(name):
            made.miss(name, why)
    for name in document:
        known = {"global", "scrape_configs", "scrape_config_files", "remote_write", "storage", *ELSEWHERE}
        if name not in known:
            raise ConfigError(name, "is no section of a prometheus.yml")


def remote_write(made: Converted, write: dict[str, Any], number: int, labels: dict[str, str]) -> None:
    """Make an exporter, and a pipeline that ends in it."""
    write = dict(write)
    key = f"remote_write[{number}]"
    name = str(write.pop("name", "") or (number + 1))
    if not write.get("url"):
        raise ConfigError(f"{key}.url", "is required")
    settings: dict[str, Any] = {"endpoint": write.pop("url")}
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
    made.pipeline(f"metrics/{name}", [NAME], processors, [exporter])


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
    made.pipeline("metrics/store", [NAME], [], ["store"])
