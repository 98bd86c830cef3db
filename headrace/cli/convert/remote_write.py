"""An entry of ``remote_write`` in a ``prometheus.yml`` as an exporter of ours, with its credentials and rules.

Source:
    Prometheus, "Configuration", ``<remote_write>``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from headrace.cli.convert.result import Converted

_ALWAYS = ("send_exemplars", "send_native_histograms", "enable_http2", "follow_redirects")
"""Options that change nothing here: exemplars and native histograms are sent where there are some."""

_SAME = {
    "remote_timeout": "timeout", "headers": "headers", "proxy_url": "proxy_url", "protobuf_message": "protobuf_message",
}  # fmt: skip
_RETRIES = {"min_backoff": "initial_interval", "max_backoff": "max_interval"}
_QUEUE = {"max_shards", "retry_on_http_429"}
_SAME_TLS = ("ca_file", "cert_file", "key_file", "insecure_skip_verify")
_UNSAFE = {"TLS10", "TLS11"}


def convert_remote_write(made: Converted, write: Any, number: int, shared: dict[str, Any]) -> None:
    """Make an exporter, and a pipeline from all receivers that ends in it.

    Args:
        made: What it is put into.
        write: The entry.
        number: Which it is, from 0.
        shared: Settings that all exporters have.

    Raises:
        ConfigError: It is wrong.
    """
    key = f"remote_write[{number}]"
    if not isinstance(write, dict):
        raise ConfigError(key, "is empty")
    write = dict(write)
    name = str(write.pop("name", "") or (number + 1))
    if not write.get("url"):
        raise ConfigError(f"{key}.url", "is required")
    settings = {"endpoint": _url(made, str(write.pop("url")), key), **_plain(write), **shared}
    _metadata(made, write.pop("metadata_config", None) or {}, settings, f"{key}.metadata_config")
    _credentials(made, write, settings, name)
    _tls(made, write.pop("tls_config", None) or {}, settings, f"{key}.tls_config")
    _queue(made, write.pop("queue_config", None) or {}, settings, f"{key}.queue_config")
    rules = write.pop("write_relabel_configs", None)
    processors = [made.put("processors", f"relabel/{name}", {"relabel_configs": rules})] if rules else []
    for option in [option for option, value in write.items() if value]:
        made.miss(f"{key}.{option}", "has no counterpart in the exporter prometheus_remote_write")
    exporter = f"prometheus_remote_write/{name}"
    if exporter in made.document.get("exporters", {}):
        raise ConfigError(f"{key}.name", f"{name!r} is the name of another one")
    made.put("exporters", exporter, settings)
    made.pipeline(f"metrics/{name}", made.receivers, processors, [exporter])


def _plain(write: dict[str, Any]) -> dict[str, Any]:
    """Return the settings whose values are the same in both, and take them out of `write`."""
    found = {ours: write.pop(theirs) for theirs, ours in _SAME.items() if write.get(theirs)}
    for option in _ALWAYS:
        write.pop(option, None)
    return found


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
    for option, value in sigv4.items():
        if value and option not in {*names, "role_arn"}:
            made.miss(f"remote_write {name}: sigv4.{option}", "is not supported")
    settings: dict[str, Any] = {names[key]: value for key, value in sigv4.items() if key in names and value}
    role = sigv4.get("role_arn")
    if role and settings.get("region"):
        settings["assume_role"] = {"arn": role}
    elif role:
        made.miss(f"remote_write {name}: sigv4.role_arn", "write assume_role with the region of its STS")
    made.put("extensions", f"sigv4_auth/{name}", settings)


def _tls(made: Converted, tls: dict[str, Any], settings: dict[str, Any], key: str) -> None:
    if tls and settings["endpoint"].startswith("http://"):
        made.miss(key, "has no effect on an http:// URL")
        return
    tls = safe(made, tls, key)
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


def _metadata(made: Converted, metadata: dict[str, Any], settings: dict[str, Any], key: str) -> None:
    """Send metadata as Prometheus does by default; by 2.0 it goes along in any case."""
    if metadata.get("send", True) and "protobuf_message" not in settings:
        settings["send_metadata"] = True
    for name in metadata:
        if name != "send":
            made.miss(f"{key}.{name}", "metadata is sent when it is new, and every minute")


def _queue(made: Converted, queue: dict[str, Any], settings: dict[str, Any], key: str) -> None:
    retries = {ours: queue[theirs] for theirs, ours in _RETRIES.items() if theirs in queue}
    if retries:
        settings["retry_on_failure"] = retries
    if queue.get("max_shards"):
        settings["sending_queue"] = {"num_consumers": queue["max_shards"]}
    for name in queue:
        if name not in _RETRIES and name not in _QUEUE:
            made.miss(f"{key}.{name}", "see sending_queue for the limits of the queue")


def safe(made: Converted, tls: dict[str, Any], key: str) -> dict[str, Any]:
    """Return settings of TLS without a version that is not safe."""
    if str(tls.get("min_version")) not in _UNSAFE:
        return tls
    made.miss(f"{key}.min_version", f"{tls['min_version']} is not safe: it is TLS12 here")
    return {name: value for name, value in tls.items() if name != "min_version"}
