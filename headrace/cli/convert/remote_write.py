"""An entry of ``remote_write`` in a ``prometheus.yml`` as an exporter of ours, with its credentials and rules.

Source:
    Prometheus, "Configuration", ``<remote_write>``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from headrace.pipeline.config.urls import without_password
from headrace.pipeline.prometheus_http.config import BasicAuth
from headrace.pipeline.prometheus_http.texts import NO_SECRET_MANAGER

if TYPE_CHECKING:
    from headrace.cli.convert.result import Converted

_ALWAYS = ("send_exemplars", "send_native_histograms", "enable_http2", "follow_redirects")
"""Options that change nothing here: exemplars and native histograms are sent where there are some."""

_SAME = {
    "remote_timeout": "timeout", "headers": "headers", "proxy_url": "proxy_url", "protobuf_message": "protobuf_message",
}  # fmt: skip
_RETRIES = {"min_backoff": "initial_interval", "max_backoff": "max_interval"}
_QUEUE = {"max_shards", "retry_on_http_429"}
_SAME_TLS = {
    **{name: name for name in ("ca_file", "cert_file", "key_file", "insecure_skip_verify")},
    "ca": "ca_pem", "cert": "cert_pem", "key": "key_pem", "server_name": "server_name_override",
}  # fmt: skip
_SIGV4 = {
    "access_key": "access_key_id", "secret_key": "secret_access_key", "region": "region", "profile": "profile",
    "service": "service",
}  # fmt: skip
_UNSAFE = {"TLS10", "TLS11"}


def convert_remote_write(made: Converted, write: dict[str, Any], number: int, shared: dict[str, Any]) -> None:
    """Make an exporter, and a pipeline from all receivers that ends in it.

    Args:
        made: What it is put into.
        write: The entry; it has been checked.
        number: Which it is, from 0.
        shared: Settings that all exporters have.
    """
    key = f"remote_write[{number}]"
    write = dict(write)
    name = _name(made, str(write.pop("name", "")), number)
    settings = {"endpoint": _url(made, write.pop("url"), key), **_plain(write), **shared}
    _metadata(made, write.pop("metadata_config", None) or {}, settings, f"{key}.metadata_config")
    _credentials(made, write, settings, name, key)
    _tls(made, write.pop("tls_config", None) or {}, settings, f"{key}.tls_config")
    _queue(made, write.pop("queue_config", None) or {}, settings, f"{key}.queue_config")
    rules = write.pop("write_relabel_configs", None)
    processors = [made.put("processors", f"relabel/{name}", {"relabel_configs": rules})] if rules else []
    for option in [option for option, value in write.items() if value]:
        made.miss(f"{key}.{option}", "has no counterpart in the exporter prometheus_remote_write")
    exporter = f"prometheus_remote_write/{name}"
    made.put("exporters", exporter, settings)
    made.pipeline(f"metrics/{name}", made.receivers, processors, [exporter])


def _name(made: Converted, wanted: str, number: int) -> str:
    """Return a name for the components that no others have; as in the file where it can be part of an id."""
    name = re.sub(r"\s+", "_", wanted).lstrip("/") or str(number + 1)
    while f"prometheus_remote_write/{name}" in made.document.get("exporters", {}):
        name += "_"
    return name


def _plain(write: dict[str, Any]) -> dict[str, Any]:
    """Return the settings whose values are the same in both, and take them out of `write`."""
    found = {ours: write.pop(theirs) for theirs, ours in _SAME.items() if write.get(theirs)}
    for option in _ALWAYS:
        write.pop(option, None)
    return found


def _url(made: Converted, url: str, key: str) -> str:
    if "://" in url:
        return url
    made.miss(f"{key}.url", f"{without_password(f'//{url}')[2:]} has no scheme: http:// was put in front of it")
    return f"http://{url}"


def _credentials(made: Converted, write: dict[str, Any], settings: dict[str, Any], name: str, key: str) -> None:
    """Turn credentials into an extension that the exporter names."""
    basic = write.pop("basic_auth", None)
    authorization = dict(write.pop("authorization", None) or {})
    token, file = write.pop("bearer_token", None), write.pop("bearer_token_file", None)
    sigv4 = write.pop("sigv4", None)
    token = token or authorization.pop("credentials", None)
    file = file or authorization.pop("credentials_file", None)
    if basic:
        made.put("extensions", f"basic_auth/{name}", {"client_auth": _known(made, basic, f"{key}.basic_auth")})
    elif token or file:
        bearer: dict[str, Any] = {"scheme": authorization.get("type", "Bearer")}
        bearer |= {"filename": file} if file else {"token": token}
        made.put("extensions", f"bearer_token_auth/{name}", bearer)
    elif sigv4 is not None:
        _sigv4(made, sigv4, name, f"{key}.sigv4")
    else:
        if authorization:
            made.miss(f"{key}.authorization", "has no credentials, and no file that holds them")
        return
    settings["auth"] = {"authenticator": made.document["service"]["extensions"][-1]}


def _known(made: Converted, basic: dict[str, Any], key: str) -> dict[str, Any]:
    for option in basic:
        if option not in BasicAuth.model_fields:
            made.miss(f"{key}.{option}", NO_SECRET_MANAGER)
    return {option: value for option, value in basic.items() if option in BasicAuth.model_fields}


def _sigv4(made: Converted, sigv4: dict[str, Any], name: str, key: str) -> None:
    for option, value in sigv4.items():
        if option not in {*_SIGV4, "role_arn"} and value:
            made.miss(f"{key}.{option}", "is not supported")
    settings: dict[str, Any] = {_SIGV4[option]: value for option, value in sigv4.items() if option in _SIGV4}
    if sigv4.get("role_arn"):
        settings["assume_role"] = {"arn": sigv4["role_arn"]}
    made.put("extensions", f"sigv4_auth/{name}", settings)


def _tls(made: Converted, tls: dict[str, Any], settings: dict[str, Any], key: str) -> None:
    if tls and settings["endpoint"].startswith("http://"):
        made.miss(key, "has no effect on an http:// URL")
        return
    tls = safe(made, tls, key)
    found = {_SAME_TLS[name]: value for name, value in tls.items() if name in _SAME_TLS}
    for bound in ("min_version", "max_version"):
        if tls.get(bound):  # TLS12
            found[bound] = "1." + tls[bound][-1]
    for name in tls:
        if name not in {*_SAME_TLS, "min_version", "max_version"}:
            made.miss(f"{key}.{name}", NO_SECRET_MANAGER)
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
    """Return settings of TLS without versions that are not safe."""
    unsafe = [bound for bound in ("min_version", "max_version") if tls.get(bound) in _UNSAFE]
    for bound in unsafe:
        made.miss(f"{key}.{bound}", f"{tls[bound]} is not safe: TLS12 is the least here")
    return {name: value for name, value in tls.items() if name not in unsafe}
