"""Settings of the ``access`` extension, and what they make: users, keys, policies, keyring."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ByteSize, ComponentConfig, NonNegativeDuration, PositiveDuration, Secret
from headrace.pipeline.errors import ConfigError, InvalidInput, TooLarge
from headrace.store.access.identities import Identities
from headrace.store.access.keyring import Keyring
from headrace.store.access.managed import MANAGED
from headrace.store.access.policy import parse_policy
from headrace.store.access.principals import AccessKey, User, check_key_id, check_policy_name, check_user_name
from headrace.store.access.sealing import MasterKey, load_master_key, parse_master_key

if TYPE_CHECKING:
    from collections.abc import Callable

DEMONSTRATION_KEYS = frozenset(("AKIAHEADRACEDEMOLAB1",))
"""Access keys that stand in documents: everybody knows their secrets, so they are good on loopback alone."""


class AccessKeyConfig(ComponentConfig):
    """A long-lived access key."""

    id: str
    """Access key id, 16 to 128 letters and digits."""

    secret: Secret
    """Secret access key; better from a file or the environment than in plain text."""

    loopback_only: bool = False
    """Take the key only from this machine, as if it did not exist for others."""

    @field_validator("id")
    @classmethod
    def _check_id(cls, text: str) -> str:
        return _checked(check_key_id, text)


class AccessUserConfig(ComponentConfig):
    """A user of the configuration."""

    access_keys: tuple[AccessKeyConfig, ...] = ()
    """Its access keys."""

    policies: tuple[str, ...] = ()
    """Names of its policies: those under ``policies``, or AWS' managed ones such as AmazonPrometheusQueryAccess."""

    tags: Annotated[dict[str, str], Field(default_factory=dict)]
    """What ``aws:PrincipalTag/…`` reads."""


class AuditConfig(ComponentConfig):
    """The audit log."""

    directory: str = ""
    """Where it lies; without it, no audit log is written."""

    data_plane: Literal["all", "denied"] = "all"
    """Whether writes and queries that were allowed are in it as well. The control plane always is."""

    max_file_size: Annotated[ByteSize, Field(ge=1 << 16)] = 64 << 20
    """Bytes from which a new file is begun."""

    max_files: Annotated[int, Field(ge=0)] = 0
    """Files that are kept; 0 keeps all."""


class Sigv4Config(ComponentConfig):
    """How strictly signatures are checked."""

    clock_skew: PositiveDuration = timedelta(minutes=5)
    """How far a client's clock may differ."""

    lenient_query: bool = False
    """Also take query strings that were signed as they stand or encoded twice, as older curl and awscurl do. The
    signature covers the whole query in each form; AWS itself refuses them."""


class AuthenticatorConfig(ComponentConfig):
    """Another way to authenticate."""

    extension: str
    """Id of an extension, such as ``basic_auth``."""

    user: str = ""
    """User that all it lets in act as; without it, the user of the same name."""


class AccessConfig(ComponentConfig):
    """Settings of the ``access`` extension."""

    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")]
    """AWS account id of users and workspaces, twelve digits."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    """Region that requests have to be signed for."""

    service: str = "aps"
    """Service that requests have to be signed for."""

    users: Annotated[dict[str, AccessUserConfig], Field(default_factory=dict)]
    """Users by name, besides those that ``headrace access`` makes."""

    policies: Annotated[dict[str, Any], Field(default_factory=dict)]
    """IAM policies by name, as YAML or as JSON text, besides those that ``headrace access`` makes."""

    database: str = ""
    """SQLite database of the users, keys and policies that ``headrace access`` makes; its secrets are sealed."""

    master_key: Secret = Secret("")
    """What seals the secrets: 32 bytes in base64, from the environment."""

    master_key_file: str = ""
    """The same from a file that only its owner can read, outside the directory of the database; made if missing."""

    sigv4: Sigv4Config = Sigv4Config()
    """How signatures are checked."""

    auth_grace: NonNegativeDuration = timedelta()
    """Answer 503 instead of 403 to what was allowed less than this ago and is not any more, because credentials ran
    out or a policy lost a grant: senders then keep their samples. Never data. Explicit denials, unknown keys and bad
    signatures are 403 all the same. Zero is off."""

    authenticators: tuple[AuthenticatorConfig, ...] = ()
    """Extensions that are asked about requests without a signature, one after the other."""

    mtls: bool = False
    """Let in requests without a signature by the name in their client certificate, as the user of that name."""

    audit: AuditConfig = AuditConfig()
    """The audit log."""

    @field_validator("policies")
    @classmethod
    def _check_policies(cls, policies: dict[str, Any]) -> dict[str, Any]:
        for name, document in policies.items():
            _checked(check_policy_name, name)
            if name in MANAGED:
                raise ValueError(f"{name} is the name of a managed policy")
            if not isinstance(document, str | dict):
                raise ValueError(f"{name}: must be a policy document")
            try:
                parse_policy(document, name)
            except (InvalidInput, TooLarge) as error:
                raise ValueError(f"{name}: {error}") from None
        return policies

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = {*self.policies, *MANAGED}
        ids = [key.id for user in self.users.values() for key in user.access_keys]
        for name, user in self.users.items():
            _checked(check_user_name, name)
            for policy in user.policies:
                if policy not in known:
                    raise ValueError(f"users.{name}.policies: there is no policy {policy!r}")
        for key_id in ids:
            if ids.count(key_id) > 1:
                raise ValueError(f"access key {key_id} stands twice")
        if self.database and bool(self.master_key) == bool(self.master_key_file):
            raise ValueError("database needs either master_key or master_key_file")
        return self


def _checked(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def open_keyring(config: AccessConfig, setting: str, clock_ns: Callable[[], int]) -> Keyring | None:
    """Return the opened keyring; None where the configuration names none.

    Args:
        config: The settings.
        setting: Their place in the configuration, for errors.
        clock_ns: Unix time.

    Raises:
        ConfigError: The master key cannot be used.
        StoreError: The database cannot be read.
    """
    if not config.database:
        return None
    path = Path(config.database)
    keyring = Keyring(path, _master_key(config, setting, path.parent), clock_ns)
    try:
        keyring.open()
    except OSError as error:
        raise ConfigError(f"{setting}.database", f"cannot be written: {error}") from None
    return keyring


def _master_key(config: AccessConfig, setting: str, data: Path) -> MasterKey:
    if config.master_key:
        return parse_master_key(config.master_key.reveal(), f"{setting}.master_key")
    return load_master_key(Path(config.master_key_file), f"{setting}.master_key_file", data)


def identities_of(config: AccessConfig, keyring: Keyring | None) -> Identities:
    """Return the users of the configuration and of the keyring."""
    users = {name: User(name, user.tags, user.policies) for name, user in config.users.items()}
    keys = {
        key.id: AccessKey(key.id, name, key.secret.reveal())
        for name, user in config.users.items()
        for key in user.access_keys
    }
    policies = {name: parse_policy(document, name) for name, document in config.policies.items()}
    return Identities(config.account, users, keys, policies, keyring)


def loopback_only_keys(config: AccessConfig) -> frozenset[str]:
    """Return the ids of the keys that are good on loopback alone."""
    marked = {key.id for user in config.users.values() for key in user.access_keys if key.loopback_only}
    return DEMONSTRATION_KEYS | marked


def check_authenticators(config: AccessConfig, setting: str, own_id: str) -> None:
    """Raise ConfigError where the extension would ask itself."""
    for n, one in enumerate(config.authenticators):
        if one.extension == own_id:
            raise ConfigError(f"{setting}.authenticators[{n}].extension", "is this extension itself")
