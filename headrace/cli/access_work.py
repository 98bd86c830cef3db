"""What ``headrace access`` and ``headrace audit`` do."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.commands import load
from headrace.extensions.access_config import AccessConfig, identities_of, open_keyring
from headrace.pipeline.config import parse_duration
from headrace.pipeline.errors import ConfigError, HeadraceError, InvalidInput
from headrace.store.access import audit
from headrace.store.access.evaluate import AccessRequest, considered, evaluate
from headrace.store.access.explain import explain as explained
from headrace.store.access.explain import is_denied
from headrace.store.access.lint import ACTIONS
from headrace.store.access.lint import lint as linted
from headrace.store.access.managed import MANAGED
from headrace.store.access.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from headrace.store.access.identities import Identity
    from headrace.store.access.keyring import Keyring
    from headrace.store.access.principals import AccessKey

_FAILED = 1
_BAD_CONFIG = 2

Options = dict[str, Any]


def run(work: Callable[[Options], int], options: Options) -> int:
    """Do the work of a command; return the exit code."""
    try:
        return work(options)
    except ConfigError as error:
        click.echo(str(error), err=True)
        return _BAD_CONFIG
    except (HeadraceError, ValueError) as error:
        click.echo(str(error), err=True)
        return _FAILED


def _config(options: Options) -> tuple[str, AccessConfig]:
    """Return the settings of the access extension with their place."""
    loaded = load(options["files"], options["settings"])
    if loaded is None:
        raise ConfigError("--config", "cannot be used")
    for name, planned in loaded.extensions().items():
        if isinstance(planned.config, AccessConfig):
            return f"extensions.{name}", planned.config
    raise ConfigError("service.extensions", "there is no access extension among them")


@contextmanager
def _keyring(options: Options) -> Iterator[Keyring]:
    setting, config = _config(options)
    keyring = open_keyring(config, setting, time.time_ns)
    if keyring is None:
        raise ConfigError(f"{setting}.database", "is needed: users, keys and policies are kept there")
    try:
        yield keyring
    finally:
        keyring.close()


def _identities(options: Options) -> tuple[AccessConfig, list[Identity]]:
    setting, config = _config(options)
    keyring = open_keyring(config, setting, time.time_ns)
    try:
        return config, identities_of(config, keyring).all()
    finally:
        if keyring is not None:
            keyring.close()


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidInput(f"{option}: must be KEY=VALUE, got {text!r}")
        found[key] = value
    return found


# -- users, keys, policies -----------------------------------------------------------------------------------


def create_user(options: Options) -> int:
    """Make a user."""
    _, config = _config(options)
    if options["name"] in config.users:
        raise InvalidInput(f"user {options['name']!r} stands in the configuration")
    with _keyring(options) as keyring:
        user = keyring.create_user(options["name"], _pairs(options["tags"], "--tag"))
    click.echo(user.arn(config.account))
    return 0


def list_users(options: Options) -> int:
    """List users."""
    _, identities = _identities(options)
    for identity in identities:
        click.echo(f"{identity.arn}  policies: {', '.join(identity.user.policies) or 'none'}")
    return 0


def delete_user(options: Options) -> int:
    """Delete a user."""
    with _keyring(options) as keyring:
        keyring.delete_user(options["name"])
    return 0


def create_key(options: Options) -> int:
    """Make an access key and show its secret."""
    duration_s = parse_duration(options["duration"]).total_seconds() if options["duration"] else 0.0
    if options["duration"] and duration_s <= 0:
        raise InvalidInput(f"--duration: must be more than 0, got {options['duration']}")
    with _keyring(options) as keyring:
        key = keyring.create_key(options["name"], duration_s)
    for line in _shown(key, options["form"]):
        click.echo(line)
    return 0


def _shown(key: AccessKey, form: str) -> Iterator[str]:
    if form == "json":  # what credential_process of AWS' clients reads
        record = {"Version": 1, "AccessKeyId": key.id, "SecretAccessKey": key.secret}
        if key.session_token:
            record |= {"SessionToken": key.session_token, "Expiration": _time(key.expires_ns)}
        yield json.dumps(record)
        return
    prefix = "export " if form == "env" else ""
    yield f"{prefix}AWS_ACCESS_KEY_ID={key.id}"
    yield f"{prefix}AWS_SECRET_ACCESS_KEY={key.secret}"
    if key.session_token:
        yield f"{prefix}AWS_SESSION_TOKEN={key.session_token}"
    if form == "text":
        until = f", good until {_time(key.expires_ns)}" if key.expires_ns else ""
        yield f"# of user {key.user}{until}; the secret is not shown again"


def list_keys(options: Options) -> int:
    """List access keys."""
    with _keyring(options) as keyring:
        keys = sorted(keyring.keys.values(), key=lambda key: (key.user, key.id))
    for key in keys:
        state = "active" if key.active else "inactive"
        until = f"  until {_time(key.expires_ns)}" if key.expires_ns else ""
        click.echo(f"{key.id}  {key.user}  {state}{until}")
    return 0


def disable_key(options: Options) -> int:
    """Put an access key out of use."""
    with _keyring(options) as keyring:
        keyring.set_active(options["key_id"], active=False)
    return 0


def enable_key(options: Options) -> int:
    """Put an access key into use."""
    with _keyring(options) as keyring:
        keyring.set_active(options["key_id"], active=True)
    return 0


def delete_key(options: Options) -> int:
    """Delete an access key."""
    with _keyring(options) as keyring:
        keyring.delete_key(options["key_id"])
    return 0


def put_policy(options: Options) -> int:
    """Store a policy."""
    document = options["document"].read()
    parse_policy(document, options["name"])
    _, config = _config(options)
    if options["name"] in config.policies or options["name"] in MANAGED:
        raise InvalidInput(f"policy {options['name']!r} stands in the configuration or is a managed one")
    with _keyring(options) as keyring:
        keyring.put_policy(options["name"], document)
    return 0


def list_policies(options: Options) -> int:
    """List policies."""
    with _keyring(options) as keyring:
        names = sorted(keyring.policies)
    for name in names:
        click.echo(name)
    return 0


def show_policy(options: Options) -> int:
    """Print a policy."""
    with _keyring(options) as keyring:
        document = keyring.policies.get(options["name"])
    if document is None and options["name"] in MANAGED:
        document = json.dumps(MANAGED[options["name"]], indent=2)
    if document is None:
        raise InvalidInput(f"policy {options['name']!r} does not exist")
    click.echo(document)
    return 0


def delete_policy(options: Options) -> int:
    """Delete a policy."""
    with _keyring(options) as keyring:
        keyring.delete_policy(options["name"])
    return 0


def attach_policy(options: Options) -> int:
    """Attach a policy to a user of the keyring."""
    _, config = _config(options)
    name = options["name"]
    fixed = config.policies.get(name, MANAGED.get(name))
    with _keyring(options) as keyring:
        if fixed is not None and name not in keyring.policies:
            # Users of the keyring have policies of the keyring; the name leads back to the original.
            keyring.put_policy(name, fixed if isinstance(fixed, str) else json.dumps(fixed))
        keyring.attach(options["user"], name)
    return 0


def detach_policy(options: Options) -> int:
    """Take a policy from a user."""
    with _keyring(options) as keyring:
        keyring.detach(options["user"], options["name"])
    return 0


# -- who may do what -----------------------------------------------------------------------------------------


def simulate(options: Options) -> int:
    """Tell who may do what, and by which statement."""
    config, identities = _identities(options)
    wanted = set(options["users"])
    unknown = wanted - {identity.user.name for identity in identities}
    if unknown:
        raise InvalidInput(f"there is no user {', '.join(sorted(unknown))}")
    given = options["resource_policy"]
    policy = parse_policy(given.read(), "resource policy", resource_policy=True) if given is not None else None
    resource = options["resource"]
    resource = f"arn:aws:aps:{config.region}:{config.account}:workspace/ANY" if resource == "*" else resource
    rows: list[dict[str, Any]] = []
    for identity in identities:
        if wanted and identity.user.name not in wanted:
            continue
        context = _context(identity, config, _pairs(options["context"], "--context"))
        for action in options["actions"] or ACTIONS:
            asked = AccessRequest(identity.arn, config.account, action, resource, context)
            verdict = evaluate(identity.policies, policy, asked, _account(resource, config))
            policies = [*identity.policies, *([policy] if policy is not None else [])]
            rows.append(
                {
                    "user": identity.user.name,
                    "action": action,
                    "resource": resource,
                    "decision": verdict.effect.value,
                    "policy": verdict.policy,
                    "statement": verdict.statement,
                    "missed": [] if verdict.allowed else [one._asdict() for one in considered(policies, asked)],
                }
            )
    if options["as_json"]:
        click.echo(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        by = f"  by {row['policy']}, {row['statement']}" if row["policy"] else ""
        click.echo(f"{row['user']:<16} {row['action']:<34} {row['decision']:<13}{by}")
        for one in row["missed"]:
            if one["why_not"]:
                click.echo(f"{'':<16} not by {one['policy']}, {one['statement']}: {one['why_not']}")
    return 0


def _context(identity: Identity, config: AccessConfig, given: Mapping[str, str]) -> dict[str, str]:
    now = int(time.time())
    found = {
        "aws:principalarn": identity.arn,
        "aws:username": identity.user.name,
        "aws:principalaccount": config.account,
        "aws:requestedregion": config.region,
        "aws:currenttime": _time(now * 10**9),
        "aws:epochtime": str(now),
    }
    found.update({f"aws:principaltag/{key.lower()}": value for key, value in identity.user.tags.items()})
    found.update({key.lower(): value for key, value in given.items()})
    return found


def _account(resource: str, config: AccessConfig) -> str:
    parts = resource.split(":")
    return parts[4] if len(parts) > 4 and parts[4] else config.account


def explain(options: Options) -> int:
    """Tell why requests were denied."""
    denied = [record for record in audit.read(_audit_directory(options)) if is_denied(record)]
    wanted = options["request_id"]
    chosen = [one for one in denied if one.get("requestID") == wanted] if wanted else denied[-options["last"] :]
    if not chosen:
        click.echo(f"no denied request{f' {wanted}' if wanted else ''} in the audit log", err=True)
        return _FAILED
    for record in chosen:
        for line in explained(record):
            click.echo(line)
    return 0


def lint(options: Options) -> int:
    """Report grants that are wider than they need be."""
    config, identities = _identities(options)
    directory = Path(config.audit.directory) if config.audit.directory else None
    used = set(_used(directory)) if directory is not None else set()
    findings = list(linted(identities, used, audited=directory is not None and config.audit.data_plane == "all"))
    for one in findings:
        click.echo(f"{one.rule:<17} {one.user}: {one.text}")
    click.echo(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}")
    return _FAILED if findings else 0


def _used(directory: Path) -> Iterator[tuple[str, str]]:
    for record in audit.read(directory):
        name = (record.get("userIdentity") or {}).get("userName")
        if name and not is_denied(record):
            yield name, str((record.get("additionalEventData") or {}).get("action"))


def _audit_directory(options: Options) -> Path:
    setting, config = _config(options)
    if not config.audit.directory:
        raise ConfigError(f"{setting}.audit.directory", "is not set: there is no audit log")
    return Path(config.audit.directory)


def verify_audit(options: Options) -> int:
    """Check the chain of an audit log."""
    found = audit.verify(Path(options["directory"]))
    complete = "" if found.oldest_complete or not found.lines else "; older files were removed"
    click.echo(f"{found.lines} lines in {found.files} files are as they were written, last {found.last}{complete}")
    return 0


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
