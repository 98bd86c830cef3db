"""How an API server is reached: by its URL, from within the cluster, or as a kubeconfig file says.

Source:
    Kubernetes, "Accessing the Kubernetes API from a Pod"; "kubeconfig (v1)".
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from headrace.pipeline.config import Secret
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.prometheus_http import HttpConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.discovery.kubernetes.config import KubernetesSdConfig

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the token, the authority and the namespace of its account."""

_MAX_BYTES = 1 << 20
_UNSUPPORTED = ("exec", "auth-provider", "as", "as-groups", "as-uid", "as-user-extra")


@dataclass(frozen=True, slots=True)
class Access:
    """How to ask one API server.

    Attributes:
        url: Its URL, without a final slash.
        client: Settings of the HTTP client.
        own_namespace: Namespace that the daemon runs in; empty outside of the cluster.
    """

    url: str
    client: HttpConfig
    own_namespace: str = ""


def reach(
    config: KubernetesSdConfig, key: str, environment: Mapping[str, str] | None = None, account: Path | None = None
) -> Access:
    """Find out how the API server is reached; reads files.

    Args:
        config: Settings.
        key: The setting that they are, for errors.
        environment: Of this process by default.
        account: Folder of the pod's account; `ACCOUNT` by default.

    Raises:
        ConfigError: A file does not load, or the daemon does not run in a cluster.
    """
    if config.api_server:
        return Access(config.api_server.rstrip("/"), config.client())
    try:
        if config.kubeconfig_file:
            return _of_kubeconfig(Path(config.kubeconfig_file))
        needs_own = config.namespaces.own_namespace
        return _of_pod(os.environ if environment is None else environment, account or ACCOUNT, needs_own=needs_own)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(key, f"cannot tell how the API server is reached: {error}") from None


def _of_pod(environment: Mapping[str, str], account: Path, *, needs_own: bool) -> Access:
    host, port = (environment.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    if not host or not port:
        raise ValueError(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, so this is no pod: "
            "api_server or kubeconfig_file is needed"
        )
    tls = {"ca_file": str(account / "ca.crt")} if (account / "ca.crt").is_file() else {}
    client = HttpConfig.model_validate(
        {"authorization": {"credentials_file": str(account / "token")}, "tls_config": tls}
    )
    namespace = account / "namespace"
    own = namespace.read_text().strip() if namespace.is_file() else ""
    if needs_own and not own:
        raise ValueError(f"own_namespace is set, and {namespace} does not name one")
    return Access(f"https://{f'[{host}]' if ':' in host else host}:{port}", client, own)


def _of_kubeconfig(path: Path) -> Access:
    content = _read(path)
    current = content.get("current-context") or ""
    context = _named(content, "contexts", "context", current)
    cluster = _named(content, "clusters", "cluster", context.get("cluster") or "")
    user = _named(content, "users", "user", context.get("user") or "") if context.get("user") else {}
    for option in _UNSUPPORTED:
        if user.get(option):
            raise ValueError(
                f"{path}: {option} of user {context['user']!r} is not supported: use a token or certificate"
            )
    server = cluster.get("server")
    if not isinstance(server, str) or not server:
        raise ValueError(f"{path}: cluster {context.get('cluster')!r} has no server")
    options = {"tls_config": _tls(path, cluster, user), "proxy_url": cluster.get("proxy-url"), **_identity(path, user)}
    try:
        return Access(server.rstrip("/"), HttpConfig.model_validate(options))
    except ValidationError as error:
        raise ValueError(f"{path}: {error.errors()[0]['msg']}") from None


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{path} is longer than {_MAX_BYTES} bytes")
    content = yaml.safe_load(data)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no kubeconfig file")
    return content


def _named(content: Mapping[str, Any], section: str, part: str, name: str) -> dict[str, Any]:
    entries = content.get(section)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(part), dict):
            found: dict[str, Any] = entry[part]
            return found
    raise ValueError(f"the kubeconfig file has no {part} {name!r} under {section}")


def _tls(path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of TLS; data within the file comes before files beside it."""
    found: dict[str, Any] = {
        "insecure_skip_verify": bool(cluster.get("insecure-skip-tls-verify")),
        "server_name": cluster.get("tls-server-name") or "",
    }
    parts = (
        ("ca", cluster, "certificate-authority"),
        ("cert", user, "client-certificate"),
        ("key", user, "client-key"),
    )
    for name, section, option in parts:
        data, file = section.get(f"{option}-data"), section.get(option)
        if data:
            text = _decoded(path, option, data)
            found[name] = Secret(text) if name == "key" else text
        elif file:
            found[f"{name}_file"] = str(path.parent / file)
    return found


def _identity(path: Path, user: Mapping[str, Any]) -> dict[str, Any]:
    if user.get("tokenFile"):
        return {"authorization": {"credentials_file": str(path.parent / user["tokenFile"])}}
    if user.get("token"):
        return {"authorization": {"credentials": user["token"]}}
    if user.get("username"):
        return {"basic_auth": {"username": user["username"], "password": user.get("password") or ""}}
    return {}


def _decoded(path: Path, option: str, data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError, TypeError):
        raise ValueError(f"{path}: {option}-data is not base64") from None
