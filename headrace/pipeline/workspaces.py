"""Which workspaces there are, where an extension manages them: the contract between it and whoever keeps their data.

The service ``workspaces`` of the host, a `WorkspaceDirectory`, is there where the ``workspaces`` extension is. Without
it there are only the workspaces that a component's configuration names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.pipeline.host import Host


@dataclass(frozen=True, slots=True)
class ManagedWorkspace:
    """A workspace as of one moment.

    Attributes:
        id: Such as ``ws-…``.
        serves: Whether it takes samples and answers queries; not while it is made or removed.
        retention_ms: How long samples are kept.
        out_of_order_ms: How far behind the newest sample a late one may be.
        tags: Read only.
        policy: Its resource policy, JSON; None without one.
    """

    id: str
    serves: bool
    retention_ms: int
    out_of_order_ms: int
    tags: Mapping[str, str]
    policy: str | None


class WorkspaceKeeper(Protocol):
    """Keeps the data of managed workspaces."""

    def create(self, workspace: str) -> None:
        """Make room for a workspace; from any thread, may be called twice.

        Raises:
            StoreFailed: It cannot be written.
        """

    def configure(self, workspace: ManagedWorkspace) -> None:
        """Put retention and out-of-order window in force; from any thread."""

    async def remove(self, workspace: str) -> None:
        """Remove all data of a workspace that serves no longer; may be called twice.

        Raises:
            StoreFailed: It cannot be written; the removal is tried again at the next start.
        """


class WorkspaceDirectory(Protocol):
    """Knows the managed workspaces; answers from memory."""

    def find(self, workspace: str) -> ManagedWorkspace | None:
        """Return a workspace, None where there is none."""

    def ids(self) -> list[str]:
        """Return the ids of all."""

    async def attach(self, keeper: WorkspaceKeeper) -> None:
        """Have a keeper told about changes from now on, and about those that an earlier process did not finish.

        The keeper is ready: it may be called before this returns.
        """

    def on_remove(self, forget: Callable[[str], None]) -> None:
        """Have `forget` called with the id of each workspace that serves no longer, on the event loop."""


def directory_of(host: Host) -> WorkspaceDirectory | None:
    """Return the directory of managed workspaces, None where nobody manages any."""
    return cast("WorkspaceDirectory | None", host.services.get("workspaces"))


def is_served(workspace: str, configured: tuple[str, ...], directory: WorkspaceDirectory | None) -> bool:
    """Return whether a workspace takes samples and answers queries.

    Args:
        workspace: Its id, as a client sent it.
        configured: Those that the component's configuration names.
        directory: The managed ones.
    """
    if workspace in configured:
        return True
    found = directory.find(workspace) if directory is not None else None
    return found is not None and found.serves
