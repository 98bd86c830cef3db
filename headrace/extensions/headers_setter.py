"""Set, change or remove headers of the requests that an exporter sends; the Collector's ``headers_setter``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.http.auth import ClientAuthenticator, RequestSigner, with_credentials
from headrace.pipeline.http.watched import WatchedFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.host import Host

_OF_SENDERS = "a request carries the points of several senders"
_REFUSED = {
    "from_context": _OF_SENDERS,
    "from_attribute": _OF_SENDERS,
    "default_value": "it stands in for from_context and from_attribute, which are not supported: use value",
}


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

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        return refuse(given, _REFUSED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = (self.value is not None) + bool(self.value_file)
        if self.action is Action.DELETE and given:
            raise ValueError("delete takes no value")
        if self.action is not Action.DELETE and given != 1:
            raise ValueError("set either value or value_file")
        return self


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
        """Return the headers to send; see `HeaderEditor`."""
        sent = with_credentials(headers, self._other)
        for number, one in enumerate(self._config.headers):
            there = [name for name in sent if name.lower() == one.key.lower()]
            if (there and one.action is Action.INSERT) or (not there and one.action is Action.UPDATE):
                continue
            for name in there:
                del sent[name]
            if one.action is not Action.DELETE:
                sent[one.key] = self._value(number, one)
        return sent

    def _value(self, number: int, one: HeaderConfig) -> str:
        file = self._files.get(number)
        if file is not None:
            return file.value
        return one.value.reveal() if one.value is not None else ""


FACTORY = ExtensionFactory(name="headers_setter", config=HeadersSetterConfig, create=HeadersSetter)
