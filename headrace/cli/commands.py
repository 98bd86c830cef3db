"""What the commands do; imported when one of them runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.notify import tell_manager
from headrace.cli.registry import ComponentRegistry
from headrace.cli.warm import warm_up
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.load import LoadedConfig, load_files
from headrace.pipeline.config.substitution import Substitution
from headrace.pipeline.errors import ConfigError, HeadraceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.cli.sigv4_proxy import ProxyOptions
    from headrace.cli.watch import Watched

_FAILED = 1
_BAD_CONFIG = 2


def load(files: Sequence[str], settings: Sequence[str] = (), plugins: Sequence[str] = ()) -> LoadedConfig | None:
    """Load a configuration; tell all its faults and return None where it has any."""
    return _told(lambda: load_files(files, ComponentRegistry(plugins), settings))


def _told(make: Callable[[], LoadedConfig]) -> LoadedConfig | None:
    try:
        loaded = make()
    except ConfigFaults as error:
        for fault in error.faults:
            click.echo(str(fault), err=True)
        count = len(error.faults)
        click.echo(f"{count} {'mistake' if count == 1 else 'mistakes'} in the configuration", err=True)
        return None
    except ConfigError as error:
        click.echo(str(error), err=True)
        return None
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    return loaded


def run_daemon(
    files: Sequence[str], settings: Sequence[str], plugins: Sequence[str], started_s: float, *, watch: bool
) -> int:
    """Run the daemon on configuration files; return the exit code."""
    from headrace.cli.watch import Watched

    watched = Watched(files)
    registry: list[ComponentRegistry] = []

    def read() -> LoadedConfig:
        # The same types of components for all reloads, so that what has not changed is recognised.
        found = registry[0] if registry else ComponentRegistry(plugins)
        registry[:] = [found]
        return load_files(files, found, settings, Substitution(read_file=watched.read))

    loaded = _told(read)
    return _BAD_CONFIG if loaded is None else _run(loaded, started_s, read, watched, watch=watch)


def run_serve(options: Mapping[str, Any], started_s: float) -> int:
    """Run the daemon without a configuration file; return the exit code."""
    loaded = _told(lambda: load_files([f"yaml:{json.dumps(serve_config(options))}"], ComponentRegistry()))
    return _BAD_CONFIG if loaded is None else _run(loaded, started_s)


def serve_config(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration that the options of ``serve`` stand for."""
    server: dict[str, Any] = {"endpoint": options["listen"]}
    extensions: dict[str, Any] = {}
    if options["tls_cert"] or options["tls_key"]:
        server["tls"] = {"cert_file": options["tls_cert"] or "", "key_file": options["tls_key"] or ""}
        if options["tls_client_ca"]:
            server["tls"]["client_ca_file"] = options["tls_client_ca"]
    elif options["tls_client_ca"]:
        raise ConfigError("--tls-client-ca", "needs --tls-cert and --tls-key")
    if options["htpasswd"] and options["bearer_token_file"]:
        raise ConfigError("--htpasswd", "and --bearer-token-file exclude each other")
    if options["htpasswd"]:
        extensions["basic_auth"] = {"htpasswd": {"file": options["htpasswd"]}}
    if options["bearer_token_file"]:
        extensions["bearer_token_auth"] = {"filename": options["bearer_token_file"]}
    for name in extensions:
        server["auth"] = {"authenticator": name}
    workspaces = list(options["workspaces"]) or ["default"]
    telemetry: dict[str, Any] = {"level": "none"}
    if options["telemetry_port"]:
        reader = {"pull": {"exporter": {"prometheus": {"host": "localhost", "port": options["telemetry_port"]}}}}
        telemetry = {"readers": [reader]}
    return {
        "extensions": extensions,
        "receivers": {
            "prometheus_remote_write": {**server, "workspaces": workspaces},
            "otlp": {"protocols": {"http": server}},
        },
        "exporters": {
            "store": {
                **server,
                "directory": options["data_dir"],
                "workspaces": workspaces,
                "retention": options["retention"],
            }
        },
        "service": {
            "extensions": list(extensions),
            "pipelines": {"metrics": {"receivers": ["prometheus_remote_write", "otlp"], "exporters": ["store"]}},
            "telemetry": {"metrics": telemetry},
        },
    }


def _run(
    loaded: LoadedConfig,
    started_s: float,
    read: Callable[[], LoadedConfig] | None = None,
    watched: Watched | None = None,
    *,
    watch: bool = False,
) -> int:
    from headrace.cli import daemon, logs

    logs.configure(loaded.telemetry.logs)
    used = [(kind, planned.factory) for kind, found in loaded.components.items() for planned in found.values()]
    warm_up(used, _tell)
    try:
        return daemon.run(lambda: daemon.Daemon(loaded, started_s, read, watched, watches=watch), _ready)
    except HeadraceError as error:
        click.echo(str(error), err=True)
        return _BAD_CONFIG if isinstance(error, ConfigError) else _FAILED


def _ready(text: str) -> None:
    _tell(text)
    tell_manager()


def _tell(text: str) -> None:
    click.echo(f"headrace: {text}", err=True)


def list_components(plugins: Sequence[str], *, as_json: bool) -> int:
    """Print all types of components."""
    rows = [
        {
            "kind": kind,
            "name": factory.name,
            "aliases": list(factory.aliases),
            "stability": factory.stability,
            "module": factory.config.__module__,
        }
        for kind, factory in ComponentRegistry(plugins).all()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        aliases = f" (also {', '.join(row['aliases'])})" if row["aliases"] else ""
        click.echo(f"{row['kind']:<11} {row['name']:<24} {row['stability']:<7}{aliases}")
    return 0


def print_schema(plugins: Sequence[str]) -> int:
    """Print the JSON schema of configurations."""
    from headrace.cli.schema import schema

    click.echo(json.dumps(schema(ComponentRegistry(plugins)), indent=2))
    return 0


def compile_all(plugins: Sequence[str]) -> int:
    """Compile all kernels into the cache."""
    spent = warm_up(ComponentRegistry(plugins).all(), _tell)
    _tell(f"all kernels are compiled ({spent:.1f} s)")
    return 0


def run_sigv4_proxy(options: Mapping[str, Any]) -> int:
    """Run the signing proxy; return the exit code."""
    import asyncio

    from headrace.cli import logs
    from headrace.cli.sigv4_proxy import serve
    from headrace.pipeline.config.service import TelemetryLogsConfig
    from headrace.pipeline.sigv4.credentials import credentials_of_environment

    logs.configure(TelemetryLogsConfig())
    try:
        credentials = credentials_of_environment(options["profile"])
        asyncio.run(serve(proxy_options(options), credentials, _tell))
    except ConfigError as error:
        click.echo(str(error), err=True)
        return _BAD_CONFIG
    return 0


def proxy_options(options: Mapping[str, Any]) -> ProxyOptions:
    """Return the settings that the options of ``sigv4-proxy`` stand for.

    Raises:
        ConfigError: One of them is not supported, or malformed.
    """
    from headrace.cli.sigv4_proxy import ProxyOptions, parse_port
    from headrace.pipeline.http.endpoint import Endpoint

    if options["role_arn"]:
        raise ConfigError("--role-arn", "is not supported, since there is no STS to ask: give temporary credentials")
    if options["unsigned_payload"]:
        raise ConfigError("--unsigned-payload", "is not supported: bodies are always signed")
    host = options["host"]
    try:
        local = Endpoint.parse(host if ":" in host else f"{host}:80").is_loopback
    except ValueError as error:
        raise ConfigError("--host", str(error)) from None
    if options["upstream_url_scheme"] == "http" and not local:
        raise ConfigError("--upstream-url-scheme", f"would send requests in the clear to {host}: use https")
    return ProxyOptions(
        parse_port(options["port"]),
        host,
        options["upstream_url_scheme"] or ("http" if local else "https"),
        options["region"],
        options["service"],
        options["sign_host"],
        frozenset(name.lower() for name in options["strip"]),
        options["log_failed_requests"] or options["verbose"],
        options["log_signing_process"] or options["verbose"],
    )
