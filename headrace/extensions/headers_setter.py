"""Set, change or remove headers of the requests that an exporter sends; the Collector's ``headers_setter``.

Values may come from the clients whose points a request carries: from their headers, which receivers keep where
``include_metadata`` is on, or from who was authenticated. Points of clients that differ in such a value are never sent
in one request.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.http.auth import ClientAuthenticator, RequestSigner, with_credentials
from headrace.pipeline.http.watched import WatchedFile
from headrace.pipeline.sending import Permanent
from headrace.pipeline.sending.metadata import PRINCIPAL, of_request, want

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.host import Host

_SOURCES = ("value", "value_file", "from_context", "from_attribute")
_IDENTITIES = {"subject", "username"}
"""What the Collector's authenticators call the name of who was authenticated."""


class Action(StrEnum):
    """What is done with a header."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"


class HeaderConfig(ComponentConfig):
    """One header."""

    key: Annotated[str, Field(min_length=1)]
    """Its name."""

    action: Action = Action.UPSERT
    """``insert`` adds it where there is none, ``update`` changes one that is there, ``upsert`` does either, ``delete``
    removes it."""

    value: Secret | None = None
    """Its value."""

    value_file: str = ""
    """File with its value, read again when it changes."""

    from_context: str = ""
    """Header of clients that holds its value."""

    from_attribute: str = ""
    """``subject``: its value is the name of who was authenticated by a receiver; ``username`` means the same. Other
    attributes are not kept with points."""

    default_value: Secret | None = None
    """Its value where clients sent no such header, or nobody was authenticated; without it the header is left as it
    is."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = sum(name in self.model_fields_set and getattr(self, name) not in {None, ""} for name in _SOURCES)
        if self.action is Action.DELETE and (given or self.default_value is not None):
            raise ValueError("delete takes no value")
        if self.action is not Action.DELETE and given != 1:
            raise ValueError(f"set one of {', '.join(_SOURCES)}")
        if self.default_value is not None and not (self.from_context or self.from_attribute):
            raise ValueError("default_value stands in for from_context or from_attribute: use value")
        if self.from_attribute and self.from_attribute not in _IDENTITIES:
            raise ValueError(f"from_attribute: only subject or username is kept with points, not {self.from_attribute}")
        return self

    @property
    def wanted(self) -> str:
        """What has to be kept of clients for it; empty for nothing."""
        return PRINCIPAL if self.from_attribute else self.from_context.lower()


class HeadersSetterConfig(ComponentConfig):
    """Settings of the ``headers_setter`` extension."""

    headers: Annotated[tuple[HeaderConfig, ...], Field(min_length=1)]
    """What to do, in order."""

    additional_auth: str = ""
    """Id of another extension that authenticates the requests as well; its headers come before these."""


class HeadersSetter:
    """Edits headers."""

    def __init__(self, settings: Settings, config: HeadersSetterConfig) -> None:
        self._key = f"{settings.kind}.{settings.id}"
        self._config = config
        self._files: dict[int, WatchedFile[str]] = {}
        self._other: ClientAuthenticator | None = None

    async def start(self, host: Host) -> None:
        """Read the files and find the other extension.

        Raises:
            ConfigError: A file cannot be read, or there is no such extension.
        """
        want(host, {one.wanted for one in self._config.headers if one.wanted})
        for number, one in enumerate(self._config.headers):
            if one.value_file:
                self._files[number] = WatchedFile(one.value_file, str.strip, f"{self._key}.headers.{number}.value_file")
        if self._config.additional_auth:
            self._other = host.extension(
                self._config.additional_auth,
                ClientAuthenticator,  # type: ignore[type-abstract]
                f"{self._key}.additional_auth",
            )
            if isinstance(self._other, RequestSigner):
                # Whoever sends asks what can sign for a signature: so it has to be seen here.
                self.sign = self._other.sign

    async def shutdown(self) -> None:
        """Do nothing: nothing runs."""

    def client_headers(self) -> Mapping[str, str]:
        """Return the headers of a request that has none; see `edit_headers`."""
        return self.edit_headers({})

    def edit_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers to send; see `HeaderEditor`.

        Raises:
            Permanent: Clients sent a header several times; which of the values counts cannot be told.
        """
        sent = with_credentials(headers, self._other)
        for number, one in enumerate(self._config.headers):
            there = [name for name in sent if name.lower() == one.key.lower()]
            if (there and one.action is Action.INSERT) or (not there and one.action is Action.UPDATE):
                continue
            value = self._value(number, one)
            if value is None and one.action is not Action.DELETE:
                continue
            for name in there:
                del sent[name]
            if value is not None:
                sent[one.key] = value
        return sent

    def _value(self, number: int, one: HeaderConfig) -> str | None:
        if one.wanted:
            return _of_client(one)
        file = self._files.get(number)
        if file is not None:
            return file.value
        return one.value.reveal() if one.value is not None else None


def _of_client(one: HeaderConfig) -> str | None:
    """Return what the clients of the request that is being sent have for a header."""
    values = of_request().get(one.wanted, ())
    if len(values) > 1:
        raise Permanent(f"clients sent {len(values)} values of {one.from_context}: header {one.key} can have one")
    if values:
        return values[0]
    return one.default_value.reveal() if one.default_value is not None else None


FACTORY = ExtensionFactory(name="headers_setter", config=HeadersSetterConfig, create=HeadersSetter)
