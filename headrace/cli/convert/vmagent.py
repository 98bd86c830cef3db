"""Flags of vmagent as a configuration of ours.

Source:
    VictoriaMetrics, "vmagent", "Advanced usage": the flags. Array flags may be repeated or hold commas; the n-th value
    belongs to the n-th ``-remoteWrite.url``, and a single one to all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.cli.convert.prometheus import check, convert_scraping
from headrace.cli.convert.remote_write import convert_remote_write
from headrace.cli.convert.result import Converted
from headrace.pipeline.config.source import read
from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PER_URL = {
    "remoteWrite.basicAuth.username": ("basic_auth", "username"),
    "remoteWrite.basicAuth.password": ("basic_auth", "password"),
    "remoteWrite.basicAuth.passwordFile": ("basic_auth", "password_file"),
    "remoteWrite.bearerToken": ("authorization", "credentials"),
    "remoteWrite.bearerTokenFile": ("authorization", "credentials_file"),
    "remoteWrite.sendTimeout": ("", "remote_timeout"),
    "remoteWrite.tlsCAFile": ("tls_config", "ca_file"),
    "remoteWrite.tlsCertFile": ("tls_config", "cert_file"),
    "remoteWrite.tlsKeyFile": ("tls_config", "key_file"),
    "remoteWrite.tlsServerName": ("tls_config", "server_name"),
    "remoteWrite.tlsInsecureSkipVerify": ("tls_config", "insecure_skip_verify"),
    "remoteWrite.retryMinInterval": ("queue_config", "min_backoff"),
    "remoteWrite.retryMaxTime": ("queue_config", "max_backoff"),
}
_OWN = {
    "promscrape.config", "remoteWrite.url", "remoteWrite.relabelConfig", "remoteWrite.urlRelabelConfig",
    "remoteWrite.label", "httpListenAddr", "remoteWrite.headers",
}  # fmt: skip
_WHY = {
    "remoteWrite.tmpDataPath": "name a file_storage extension in sending_queue.storage",
    "remoteWrite.maxDiskUsagePerURL": "see sending_queue",
    "remoteWrite.queues": "an exporter has one queue, so that samples of a series keep their order",
    "streamAggr.config": "write a stream_aggregate processor",
    "remoteWrite.streamAggr.config": "write a stream_aggregate processor",
    "remoteWrite.forcePromProto": "nothing else is sent",
    "remoteWrite.maxHourlySeries": "write a cardinality_limit processor",
    "remoteWrite.maxDailySeries": "write a cardinality_limit processor",
}
_LOOPBACK_PORT = "127.0.0.1:8429"


def convert(arguments: Sequence[str]) -> Converted:
    """Convert a command line.

    Args:
        arguments: Flags with one or two dashes, ``-name=value`` or ``-name value``; truth values may stand alone.

    Raises:
        ConfigError: A flag is malformed, or a file that one names cannot be used.
    """
    flags = parse(arguments)
    made = Converted()
    _scraping(made, flags)
    _listening(made, flags)
    urls = flags.get("remoteWrite.url", [])
    if not urls:
        raise ConfigError("-remoteWrite.url", "is required: vmagent sends on what it takes")
    labels = _labels(flags)
    shared = {"external_labels": labels} if labels else {}
    for number, url in enumerate(urls):
        convert_remote_write(made, _write(flags, number, url), number, shared)
    _common_rules(made, flags)
    for name in flags:
        if name not in _OWN and name not in _PER_URL:
            made.miss(f"-{name}", _WHY.get(name, "has no counterpart"))
    return made


def parse(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of each flag."""
    flags: dict[str, list[str]] = {}
    waiting = ""
    for argument in arguments:
        if not argument.startswith("-"):
            if not waiting:
                raise ConfigError(argument, "is no flag")
            flags[waiting] += _values(waiting, argument)
            waiting = ""
            continue
        if waiting:
            flags[waiting].append("true")
        name, equals, value = argument.lstrip("-").partition("=")
        found = flags.setdefault(name, [])
        waiting = "" if equals else name
        if equals:
            found += _values(name, value)
    if waiting:
        flags[waiting].append("true")
    return flags


def _values(name: str, text: str) -> list[str]:
    """Return the values that a text stands for: flags about destinations take several, with commas between."""
    return text.split(",") if name.startswith("remoteWrite.") and name != "remoteWrite.headers" else [text]


def _scraping(made: Converted, flags: dict[str, list[str]]) -> None:
    for path in flags.get("promscrape.config", []):
        convert_scraping(made, check(path), Path(path).parent)


def _listening(made: Converted, flags: dict[str, list[str]]) -> None:
    """Take remote write and OTLP where vmagent does."""
    address = flags.get("httpListenAddr", [_LOOPBACK_PORT])[0]
    if address.startswith(":"):
        made.miss(
            f"-httpListenAddr={address}", "listens on loopback here: an address that others reach needs authentication"
        )
        address = f"127.0.0.1{address}"
    made.put("receivers", "prometheus_remote_write", {"endpoint": address})
    path = "/opentelemetry/v1/metrics"
    made.put("receivers", "otlp", {"protocols": {"http": {"endpoint": address, "metrics_url_path": path}}})


def _write(flags: dict[str, list[str]], number: int, url: str) -> dict[str, Any]:
    write: dict[str, Any] = {"url": url}
    for flag, (section, option) in _PER_URL.items():
        values = flags.get(flag, [])
        value = values[number] if number < len(values) else values[0] if len(values) == 1 else ""
        if value and value != "false":
            holder = write.setdefault(section, {}) if section else write
            holder[option] = True if value == "true" else value
    rules = flags.get("remoteWrite.urlRelabelConfig", [])
    if number < len(rules) and rules[number]:
        write["write_relabel_configs"] = _yaml(rules[number])
    for line in flags.get("remoteWrite.headers", [])[number : number + 1]:
        pairs = (one.partition(":") for one in line.split("^^") if one)
        write["headers"] = {name.strip(): value.strip() for name, _, value in pairs}
    return write


def _labels(flags: dict[str, list[str]]) -> dict[str, str]:
    pairs = [label.partition("=") for label in flags.get("remoteWrite.label", [])]
    return {name: value for name, _, value in pairs}


def _common_rules(made: Converted, flags: dict[str, list[str]]) -> None:
    """Put the rules for all destinations in front of those for one."""
    for path in flags.get("remoteWrite.relabelConfig", [])[:1]:
        name = made.put("processors", "relabel/all", {"relabel_configs": _yaml(path)})
        for pipeline in made.document["service"]["pipelines"].values():
            pipeline["processors"] = [name, *pipeline.get("processors", [])]


def _yaml(path: str) -> Any:
    try:
        return read(Path(path).read_text(), path).value
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"cannot be read: {error}") from None
