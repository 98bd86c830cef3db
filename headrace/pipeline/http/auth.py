"""Who sends a request: the contract between listeners, gRPC servers and authentication extensions.

A listener asks its `Authenticator` before it reads a body. Extensions implement it (``basic_auth``,
``bearer_token_auth``); a client certificate that the listener's TLS settings verified is proof enough of its own and
never reaches an authenticator unless one is configured as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from headrace.pipeline.errors import HeadraceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.http.request import Request


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts for.

    Attributes:
        name: User name, certificate subject or token label; never a secret.
        source: What vouches for it: ``anonymous``, ``mtls`` or the id of an authentication extension.
        attributes: What else the authenticator knows, such as groups.
    """

    name: str
    source: str
    attributes: Mapping[str, str] = field(default_factory=dict)


ANONYMOUS = Principal("anonymous", "anonymous")
"""The principal of listeners without authentication."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection.

    Attributes:
        address: IP address as text; empty where the transport has none.
        subject: Name from its verified client certificate, None without one: the common name, else the first
            subject alternative name.
    """

    address: str
    subject: str | None = None


class Unauthenticated(HeadraceError):  # noqa: N818 -- named for the condition
    """The credentials are missing or wrong; the answer is 401 (gRPC UNAUTHENTICATED).

    Args:
        why: Text for the sender; it must not say which part of the credentials was wrong.
        challenge: Value of the ``WWW-Authenticate`` header, empty for none.
    """

    def __init__(self, why: str, challenge: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.challenge = challenge


class Denied(HeadraceError):  # noqa: N818 -- named for the condition
    """A gate turns a request away.

    Args:
        status: HTTP status.
        why: Text for the log and for counters.
        body: The answer, JSON.
        headers: Headers to add to it.
        reason: Why, in a word, for counters.
    """

    def __init__(self, status: int, why: str, body: bytes, headers: Mapping[str, str], reason: str) -> None:
        super().__init__(why)
        self.status = status
        self.body = body
        self.headers = headers
        self.reason = reason


@runtime_checkable
class Gate(Protocol):
    """An authenticator that needs the whole request, and also decides what its sender may do.

    A listener whose authenticator is a gate as well asks only the gate.
    """

    async def admit(self, request: Request, action: str | None) -> Principal:
        """Return the sender of a request who may do what the request asks for.

        Args:
            request: The request; its body may be read, the handler then gets the same bytes.
            action: `Route.action` of its route; None where no route was found.

        Raises:
            Denied: The sender is not known, or may not.
            HeadraceError: The body cannot be read, see `Request.body`.
        """
        ...


@runtime_checkable
class Authenticator(Protocol):
    """Finds out who sent a request.

    Called on the event loop for every request, so it answers from memory; slow work (bcrypt) belongs on a thread, and
    its answer in a bounded cache that holds no plain secret. It compares secrets in constant time and logs none.
    """

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        """Return the sender of a request.

        Args:
            headers: Request headers (HTTP) or metadata (gRPC); looked up by lower-case name.
            peer: The other end of the connection.

        Raises:
            Unauthenticated: The credentials are missing or wrong.
            Refused: They cannot be checked now, because too many checks are under way.
        """
        ...


@runtime_checkable
class ClientAuthenticator(Protocol):
    """Adds credentials to requests that this process sends."""

    def client_headers(self) -> Mapping[str, str]:
        """Return the headers to add; read anew for each request, since files behind them may change."""
        ...


@runtime_checkable
class HeaderEditor(Protocol):
    """A client authenticator that changes or removes headers too; it is asked instead of for `client_headers`."""

    def edit_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers to send.

        Args:
            headers: Those a request has; names in any case.
        """
        ...


def with_credentials(headers: Mapping[str, str], authenticator: ClientAuthenticator | None) -> dict[str, str]:
    """Return the headers of a request with what `authenticator` adds to or does with them."""
    if authenticator is None:
        return dict(headers)
    if isinstance(authenticator, HeaderEditor):
        return authenticator.edit_headers(headers)
    return {**headers, **authenticator.client_headers()}


@runtime_checkable
class RequestSigner(Protocol):
    """A client authenticator whose credentials depend on the whole request; it is asked last, about what is sent."""

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """Return the headers to add.

        Args:
            method: Upper case.
            url: Where the request goes, as it will be on the wire.
            headers: Those it has; a name that is to be signed must not be changed afterwards.
            body: As it will be sent.
        """
        ...
