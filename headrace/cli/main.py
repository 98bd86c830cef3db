"""The command line. Nothing heavy is imported before a command needs it, so that help answers at once."""

from __future__ import annotations

import sys
import time

import click

from headrace.cli.access import access, audit
from headrace.cli.operations import convert, plan, tap
from headrace.cli.plugin import plugin
from headrace.cli.promql.commands import promql
from headrace.cli.query.commands import query
from headrace.cli.tsdb import tsdb

_STARTED_S = time.monotonic()

_config_option = click.option(
    "--config", "files", multiple=True, required=True, metavar="FILE",
    help="Configuration file; may be repeated, later ones lie over earlier ones.",
)  # fmt: skip
_set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="One setting, such as exporters.store.endpoint=..."
)
_plugin_option = click.option(
    "--plugin", "plugins", multiple=True, metavar="FILE", help="Python file that defines components; may be repeated."
)

_BAD_CONFIG = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(None, "--version", package_name="headrace")
def main() -> None:
    """Headrace: collect metrics, keep them, answer PromQL."""


main.add_command(access)
main.add_command(audit)
main.add_command(convert)
main.add_command(plan)
main.add_command(plugin)
main.add_command(promql)
main.add_command(query)
main.add_command(tap)
main.add_command(tsdb)


@main.command()
@_config_option
@_set_option
@_plugin_option
@click.option("--watch", is_flag=True, help="Reload when a configuration file changes; SIGHUP reloads in any case.")
def run(files: tuple[str, ...], settings: tuple[str, ...], plugins: tuple[str, ...], *, watch: bool) -> None:
    """Run the daemon on a configuration."""
    from headrace.cli.commands import run_daemon

    sys.exit(run_daemon(files, settings, plugins, _STARTED_S, watch=watch))


@main.command()
@click.option("--data-dir", required=True, metavar="DIR", help="Where the data lies.")
@click.option("--listen", default="127.0.0.1:9009", show_default=True, metavar="HOST:PORT", help="One port for all.")
@click.option("--retention", default="15d", show_default=True, help="How long samples are kept.")
@click.option("--workspace", "workspaces", multiple=True, metavar="ID", help="Workspaces; by default the one, default.")
@click.option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate.")
@click.option("--tls-key", metavar="FILE", help="Its private key.")
@click.option("--tls-client-ca", metavar="FILE", help="Ask clients for certificates of these authorities (mTLS).")
@click.option("--htpasswd", metavar="FILE", help="Ask for basic authentication; users and bcrypt hashes.")
@click.option("--bearer-token-file", metavar="FILE", help="Ask for the bearer token in this file.")
@click.option("--telemetry-port", default=0, show_default=True, help="Port of the daemon's own metrics; 0 for none.")
def serve(**options: object) -> None:
    """Serve remote_write, OTLP/HTTP and the PromQL API on one port, without a configuration file."""
    from headrace.cli.commands import run_serve

    sys.exit(run_serve(options, _STARTED_S))


@main.command()
@_config_option
@_set_option
@_plugin_option
def validate(files: tuple[str, ...], settings: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """Check a configuration and tell all that is wrong with it."""
    from headrace.cli.commands import load

    loaded = load(files, settings, plugins)
    if loaded is None:
        sys.exit(_BAD_CONFIG)
    click.echo("configuration is valid")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_plugin_option
def components(plugins: tuple[str, ...], *, as_json: bool) -> None:
    """List the types of components."""
    from headrace.cli.commands import list_components

    sys.exit(list_components(plugins, as_json=as_json))


@main.command("print-config")
@_config_option
@_set_option
@_plugin_option
def print_config(files: tuple[str, ...], settings: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """Print a configuration: merged, references replaced, defaults filled in, secrets redacted."""
    import yaml

    from headrace.cli.commands import load

    loaded = load(files, settings, plugins)
    if loaded is None:
        sys.exit(_BAD_CONFIG)
    click.echo(yaml.safe_dump(loaded.resolved(), sort_keys=False), nl=False)


@main.command()
@_plugin_option
def schema(plugins: tuple[str, ...]) -> None:
    """Print the JSON schema of configurations."""
    from headrace.cli.commands import print_schema

    sys.exit(print_schema(plugins))


@main.command()
@_plugin_option
def warmup(plugins: tuple[str, ...]) -> None:
    """Compile all kernels into the cache."""
    from headrace.cli.commands import compile_all

    sys.exit(compile_all(plugins))


@main.command()
@click.option(
    "--config", "files", multiple=True, required=True, metavar="FILE",
    help="Configuration file, a prometheus.yml, or a list of rules.",
)  # fmt: skip
@click.option(
    "--labels",
    required=True,
    metavar="LABELS",
    help="""Such as 'up{job="a"}', 'a=b,c=d' or JSON; with
    __address__ they are those of a target that was discovered, else those of a series.""",
)
@click.option("--job", default="", metavar="NAME", help="Scrape job or relabel processor, where there are several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def relabel(files: tuple[str, ...], labels: str, job: str, *, as_json: bool) -> None:
    """Show what each relabelling rule makes of a label set."""
    from headrace.cli.relabel import run as run_relabel

    sys.exit(run_relabel(files, job, labels, as_json=as_json))


@main.command("sigv4-proxy")
@click.option("--port", default="8000", show_default=True, help="Where to listen: 8000, :8000 or 127.0.0.1:8000.")
@click.option("--region", envvar="AWS_REGION", required=True, help="Region to sign for.")
@click.option("--name", "--service", "service", default="aps", show_default=True, help="Service to sign for.")
@click.option("--host", default="127.0.0.1:9009", show_default=True, help="Host and port to forward to.")
@click.option("--sign-host", default="", help="Host to sign, where it is not that of --host.")
@click.option("--upstream-url-scheme", type=click.Choice(["http", "https"]), help="Default: http on loopback.")
@click.option("-s", "--strip", multiple=True, metavar="HEADER", help="Header not to forward; may be repeated.")
@click.option(
    "--profile", default="", help="Profile of the shared credentials file, instead of the environment's keys."
)
@click.option("--log-failed-requests", is_flag=True, help="Log answers of 400 and above.")
@click.option("--log-signing-process", is_flag=True, help="Log what is signed.")
@click.option("-v", "--verbose", is_flag=True, help="Both of these.")
@click.option("--role-arn", default="", help="Not supported: there is no STS here.")
@click.option("--unsigned-payload", is_flag=True, help="Not supported: bodies are always signed.")
def sigv4_proxy(**options: object) -> None:
    """Sign plain HTTP requests with Signature Version 4 and forward them."""
    from headrace.cli.commands import run_sigv4_proxy

    sys.exit(run_sigv4_proxy(options))
