"""Flags of vmagent as a configuration of ours.

Source:
    VictoriaMetrics, "vmagent", "Advanced usage": the flags. Array flags may be repeated or hold commas; the n-th value
    belongs to the n-th ``-remoteWrite.url``, and a single one to all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.cli.convert.prometheus import convert_scraping
from headrace.cli.convert.prometheus_yml.check import check_file, check_list
from headrace.cli.convert.remote_write import convert_remote_write
from headrace.cli.convert.result import Converted
from headrace.cli.convert.vmagent_arguments import parse
from headrace.cli.convert.vmagent_flags import FLAGS, is_true
from headrace.cli.convert.vmagent_yml import VMAGENT, VmRule
from headrace.pipeline.config.faults import Fault

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
    "remoteWrite.aws.accessKey": ("sigv4", "access_key"),
    "remoteWrite.aws.secretKey": ("sigv4", "secret_key"),
    "remoteWrite.aws.region": ("sigv4", "region"),
    "remoteWrite.aws.roleARN": ("sigv4", "role_arn"),
    "remoteWrite.aws.service": ("sigv4", "service"),
    "remoteWrite.retryMinInterval": ("queue_config", "min_backoff"),
    "remoteWrite.retryMaxTime": ("queue_config", "max_backoff"),
}
_OWN = {
    "promscrape.config", "remoteWrite.url", "remoteWrite.relabelConfig", "remoteWrite.urlRelabelConfig",
    "remoteWrite.label", "httpListenAddr", "remoteWrite.headers",
    "remoteWrite.aws.useSigv4",
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

    Returns:
        The configuration; where flags, or files that they name, have faults, what is right in them.
    """
    made = Converted()
    flags = parse(arguments, made.faults)
    _scraping(made, flags)
    _listening(made, flags)
    shared = _labels(made, flags)
    urls = flags.get("remoteWrite.url", [""])
    for number, url in enumerate(urls):
        if url:
            convert_remote_write(made, _write(made, flags, number, url), number, shared)
        else:
            _fault(made, "remoteWrite.url", "is required: vmagent sends on what it takes")
    _common_rules(made, flags)
    for name, values in flags.items():
        if name not in _OWN and name not in _PER_URL and not _is_off(name, values):
            made.miss(f"-{name}", _WHY.get(name, "has no counterpart"))
    return made


def _fault(made: Converted, flag: str, why: str) -> None:
    made.faults.append(Fault(None, f"-{flag}", why))


def _is_off(name: str, values: Sequence[str]) -> bool:
    """Tell whether a flag says nothing: no value of a switch is true, or all values are empty."""
    return not any(is_true(value) if FLAGS[name].alone else value for value in values if value)


def _scraping(made: Converted, flags: dict[str, list[str]]) -> None:
    for path in filter(None, flags.get("promscrape.config", [])):
        checked = check_file(path, VMAGENT)
        made.faults += checked.faults
        convert_scraping(made, checked)


def _listening(made: Converted, flags: dict[str, list[str]]) -> None:
    """Take remote write and OTLP where vmagent does."""
    address, *others = [one for one in flags.get("httpListenAddr", []) if one] or [_LOOPBACK_PORT]
    for other in others:
        made.miss(f"-httpListenAddr={other}", "add receivers that listen there as well")
    if address.startswith(":"):
        made.miss(
            f"-httpListenAddr={address}", "listens on loopback here: an address that others reach needs authentication"
        )
        address = f"127.0.0.1{address}"
    made.put("receivers", "prometheus_remote_write", {"endpoint": address})
    path = "/opentelemetry/v1/metrics"
    made.put("receivers", "otlp", {"protocols": {"http": {"endpoint": address, "metrics_url_path": path}}})


def _write(made: Converted, flags: dict[str, list[str]], number: int, url: str) -> dict[str, Any]:
    """Return an entry of ``remote_write`` that says what the flags do about the n-th URL."""
    write: dict[str, Any] = {"url": url}
    for flag, (section, option) in _PER_URL.items():
        value = _value(flags, flag, number)
        if value and not (FLAGS[flag].alone and not is_true(value)):
            holder = write.setdefault(section, {}) if section else write
            holder[option] = True if FLAGS[flag].alone else value
    if is_true(_value(flags, "remoteWrite.aws.useSigv4", number) or "false"):
        write.setdefault("sigv4", {})
    else:
        write.pop("sigv4", None)
    if path := _value(flags, "remoteWrite.urlRelabelConfig", number, single=False):
        write["write_relabel_configs"] = check_list(VmRule, path, made.faults)
    if headers := _headers(made, _value(flags, "remoteWrite.headers", number)):
        write["headers"] = headers
    _check_credentials(made, write, number)
    return write


def _value(flags: dict[str, list[str]], flag: str, number: int, *, single: bool = True) -> str:
    """Return the value that a flag has for the n-th URL; one value is for all where `single`."""
    values = flags.get(flag, [])
    if number < len(values):
        return values[number]
    return values[0] if single and len(values) == 1 else ""


def _headers(made: Converted, line: str) -> dict[str, str]:
    found = {}
    for number, one in enumerate(filter(None, line.split("^^")), 1):
        name, colon, value = one.partition(":")
        if not colon or not name.strip():
            _fault(made, "remoteWrite.headers", f"header {number} must be NAME:VALUE")  # which may be a secret
        found[name.strip()] = value.strip()
    return found


def _check_credentials(made: Converted, write: dict[str, Any], number: int) -> None:
    kinds = [kind for kind in ("basic_auth", "authorization", "sigv4") if kind in write]
    if len(kinds) > 1:
        _fault(made, "remoteWrite.url", f"value {number + 1} has more than one kind of credentials: {', '.join(kinds)}")


def _labels(made: Converted, flags: dict[str, list[str]]) -> dict[str, Any]:
    """Return what all exporters have."""
    pairs = {}
    for label in filter(None, flags.get("remoteWrite.label", [])):
        name, equals, value = label.partition("=")
        if not equals or not name:
            _fault(made, "remoteWrite.label", f"must be name=value, got {label!r}")
        pairs[name] = value
    return {"external_labels": pairs} if pairs else {}


def _common_rules(made: Converted, flags: dict[str, list[str]]) -> None:
    """Put the rules for all destinations in front of those for one."""
    for path in filter(None, flags.get("remoteWrite.relabelConfig", [])):
        name = made.put("processors", "relabel/all", {"relabel_configs": check_list(VmRule, path, made.faults)})
        for pipeline in made.document.get("service", {}).get("pipelines", {}).values():
            pipeline["processors"] = [name, *pipeline.get("processors", [])]
