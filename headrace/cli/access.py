"""``headrace access`` and ``headrace audit``: the commands alone; their work is in `access_work`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_config_option = click.option(
    "--config", "files", multiple=True, required=True, metavar="FILE",
    help="Configuration file of the daemon; may be repeated.",
)  # fmt: skip
_set_option = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One setting.")


def _configured(command: Callable[..., Any]) -> Callable[..., Any]:
    return _config_option(_set_option(command))


def _run(work: str, **options: Any) -> None:
    from headrace.cli import access_work

    sys.exit(access_work.run(getattr(access_work, work), options))


@click.group()
def access() -> None:
    """Users, access keys and policies; who may do what, and why not."""


@access.group()
def user() -> None:
    """Make, list and delete users."""


@user.command("create")
@click.argument("name")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Tag for aws:PrincipalTag; may be repeated.")
@_configured
def user_create(**options: Any) -> None:
    """Make a user without keys and policies."""
    _run("create_user", **options)


@user.command("list")
@_configured
def user_list(**options: Any) -> None:
    """List users with their policies and keys."""
    _run("list_users", **options)


@user.command("delete")
@click.argument("name")
@_configured
def user_delete(**options: Any) -> None:
    """Delete a user with its keys."""
    _run("delete_user", **options)


@access.group()
def key() -> None:
    """Make, list, disable and delete access keys."""


@key.command("create")
@click.argument("name", metavar="USER")
@click.option("--duration", default="", metavar="12h", help="Make temporary credentials that end after this.")
@click.option("--format", "form", type=click.Choice(["text", "env", "json"]), default="text", show_default=True)
@_configured
def key_create(**options: Any) -> None:
    """Make an access key; its secret is shown now and never again."""
    _run("create_key", **options)


@key.command("list")
@_configured
def key_list(**options: Any) -> None:
    """List access keys, without secrets."""
    _run("list_keys", **options)


@key.command("disable")
@click.argument("key_id")
@_configured
def key_disable(**options: Any) -> None:
    """Put an access key out of use."""
    _run("disable_key", **options)


@key.command("enable")
@click.argument("key_id")
@_configured
def key_enable(**options: Any) -> None:
    """Put an access key into use again."""
    _run("enable_key", **options)


@key.command("delete")
@click.argument("key_id")
@_configured
def key_delete(**options: Any) -> None:
    """Delete an access key."""
    _run("delete_key", **options)


@access.group()
def policy() -> None:
    """Store, attach and delete policies."""


@policy.command("put")
@click.argument("name")
@click.argument("document", type=click.File("r"))
@_configured
def policy_put(**options: Any) -> None:
    """Store a policy document (a file, or - for standard input) under a name."""
    _run("put_policy", **options)


@policy.command("list")
@_configured
def policy_list(**options: Any) -> None:
    """List policies."""
    _run("list_policies", **options)


@policy.command("show")
@click.argument("name")
@_configured
def policy_show(**options: Any) -> None:
    """Print a policy document."""
    _run("show_policy", **options)


@policy.command("delete")
@click.argument("name")
@_configured
def policy_delete(**options: Any) -> None:
    """Delete a policy that is attached to nobody."""
    _run("delete_policy", **options)


@policy.command("attach")
@click.argument("user")
@click.argument("name", metavar="POLICY")
@_configured
def policy_attach(**options: Any) -> None:
    """Attach a policy to a user; managed policies such as AmazonPrometheusQueryAccess need not be stored before."""
    _run("attach_policy", **options)


@policy.command("detach")
@click.argument("user")
@click.argument("name", metavar="POLICY")
@_configured
def policy_detach(**options: Any) -> None:
    """Take a policy from a user."""
    _run("detach_policy", **options)


@access.command()
@click.option("--user", "users", multiple=True, metavar="NAME", help="Who; without it, everybody.")
@click.option("--action", "actions", multiple=True, metavar="ACTION", help="What, such as aps:RemoteWrite.")
@click.option("--resource", default="*", metavar="ARN", help="On what; without it, any workspace.")
@click.option("--resource-policy", type=click.File("r"), metavar="FILE", help="Resource policy of the workspace.")
@click.option(
    "--context", "context", multiple=True, metavar="KEY=VALUE", help="Condition key, as aws:SourceIp=10.0.0.1."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_configured
def simulate(**options: Any) -> None:
    """Tell who may do what, and by which statement."""
    _run("simulate", **options)


@access.command()
@click.argument("request_id", required=False, default="")
@click.option("--last", default=1, show_default=True, help="How many of the last denied requests.")
@_configured
def explain(**options: Any) -> None:
    """Tell why a request was denied: that with an id (x-amzn-RequestId), or the last ones of the audit log."""
    _run("explain", **options)


@access.command()
@_configured
def lint(**options: Any) -> None:
    """Report grants that are wider than they need be; exits with 1 where there are any."""
    _run("lint", **options)


@click.group()
def audit() -> None:
    """The audit log."""


@audit.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
def verify(**options: Any) -> None:
    """Check that no line of an audit log was changed, removed or moved."""
    _run("verify_audit", **options)
