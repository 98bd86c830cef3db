"""What exporters that send over a network have in common: a client, and a queue in front of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from headrace.pipeline.http.auth import ClientAuthenticator
from headrace.pipeline.sending.sender import JOINED_POINTS, Sender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation, Settings
    from headrace.pipeline.host import Host
    from headrace.pipeline.http.config import AuthConfig
    from headrace.pipeline.sending.config import SendingConfig
    from headrace.pipeline.sending.results import Loss


class Client(Protocol):
    """Sends requests."""

    async def start(self) -> None:
        """Read the files that the settings name."""

    async def shutdown(self) -> None:
        """Close the connections; safe before `start` and twice."""


C = TypeVar("C", bound=Client)


class SendingExporter(Generic[C]):
    """Base of exporters that send.

    Args:
        settings: Of the exporter.
        config: Of its queue.
        auth: Names the extension that authenticates; None for none.
        ordered: Whether points of a series must not overtake each other; see `Sender`.
        joined_points: Points that are sent together where they wait anyway.
    """

    optional = False

    def __init__(
        self,
        settings: Settings,
        config: SendingConfig,
        auth: AuthConfig | None,
        *,
        ordered: bool = False,
        joined_points: int = JOINED_POINTS,
    ) -> None:
        self._settings = settings
        self._auth = auth
        self._key = f"{settings.kind}.{settings.id}"
        self._sender = Sender(settings, config, self._send, ordered=ordered, joined_points=joined_points)
        self._client: C | None = None

    @abstractmethod
    def make_client(self, key: str, authenticator: ClientAuthenticator | None) -> C:
        """Return a client; `key` is that of the exporter, for errors."""

    @abstractmethod
    async def _send(self, batches: Sequence[MetricBatch]) -> Sequence[Loss] | None:
        """Send some batches as one; see `headrace.pipeline.sending.results.Send`."""

    async def start(self, host: Host) -> None:
        """Open the client and begin to empty the queue.

        Raises:
            ConfigError: An extension that the settings name is not there, or a file does not load.
        """
        self._client = self.make_client(self._key, self._authenticator(host))
        await self._client.start()
        await self._sender.start(host)

    async def take_over(self, predecessor: Self) -> None:
        """Take what waits in the predecessor's queue in memory; see `headrace.pipeline.component.Inheriting`."""
        await self._sender.take_over(predecessor._sender)

    async def shutdown(self) -> None:
        """Send what waits, then close."""
        await self._sender.shutdown()
        if self._client is not None:
            await self._client.shutdown()
            self._client = None

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room in the queue."""
        return self._sender.reserve(points, size_bytes)

    @property
    def client(self) -> C:
        """The client.

        Raises:
            ConnectionError: The exporter is not started, or has been stopped.
        """
        if self._client is None:
            raise ConnectionError("the exporter is not started")
        return self._client

    def _authenticator(self, host: Host) -> ClientAuthenticator | None:
        if self._auth is None:
            return None
        return host.extension(
            self._auth.authenticator,
            ClientAuthenticator,  # type: ignore[type-abstract]
            f"{self._key}.auth.authenticator",
        )
