"""Between the control plane, which lives on a thread, and those that keep data, which live on the event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from headrace.pipeline.errors import StoreFailed
from headrace.pipeline.workspaces import ManagedWorkspace
from headrace.store.workspaces.registry import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from headrace.pipeline.host import Host
    from headrace.pipeline.workspaces import WorkspaceKeeper
    from headrace.store.workspaces.control import ControlPlane
    from headrace.store.workspaces.registry import Registry, Workspace

_log = logging.getLogger("headrace.workspaces")

_DAY_MS = 86_400_000
_RETRY_S = 5.0
_SERVING = frozenset((Status.ACTIVE, Status.UPDATING))


class DataPlane:
    """The `WorkspaceDirectory` of the host, and the `Hooks` of the control plane.

    Args:
        registry: Knows the workspaces.
        host: Whose series tables go with a workspace.
        thread: Where the control plane's work is done.
    """

    def __init__(self, registry: Registry, host: Host, thread: Executor) -> None:
        self._registry = registry
        self._host = host
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._keepers: list[WorkspaceKeeper] = []
        self._attached = asyncio.Event()
        self._forgetters: list[Callable[[str], None]] = [host.workspaces.drop]
        self._views: dict[str, tuple[Workspace, ManagedWorkspace]] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self.control: ControlPlane | None = None
        """Set once it is made; it is made with this object."""

    # -- the directory -------------------------------------------------------------------------------------

    def find(self, workspace: str) -> ManagedWorkspace | None:
        """Return a workspace, None where there is none; any thread."""
        found = self._registry.get(workspace)
        if found is None:
            return None
        known = self._views.get(workspace)
        # Values of the registry never change: a change puts another one in place.
        if known is not None and known[0] is found:
            return known[1]
        view = _view(found)
        self._views[workspace] = (found, view)
        return view

    def ids(self) -> list[str]:
        """Return the ids of all."""
        return [workspace.id for workspace in self._registry.workspaces()]

    async def attach(self, keeper: WorkspaceKeeper) -> None:
        """Have a keeper told about changes; see `WorkspaceDirectory`."""
        self._keepers.append(keeper)
        self._attached.set()
        if self.control is not None:
            await self._loop.run_in_executor(self._thread, self.control.settle)

    def on_remove(self, forget: Callable[[str], None]) -> None:
        """Have `forget` called with each workspace that serves no longer."""
        self._forgetters.append(forget)

    # -- the hooks, on the control plane's thread ----------------------------------------------------------

    def create(self, workspace_id: str) -> None:
        """Make room for a workspace; see `Hooks`."""
        for keeper in self._keepers:
            keeper.create(workspace_id)

    def configure(self, workspace_id: str, retention_days: int, out_of_order_s: int) -> None:
        """Put a configuration in force; see `Hooks`."""
        del retention_days, out_of_order_s  # the registry has them already
        found = self.find(workspace_id)
        for keeper in self._keepers:
            if found is not None:
                keeper.configure(found)

    def delete(self, workspace_id: str) -> None:
        """Begin to remove the data; see `Hooks`."""
        self._loop.call_soon_threadsafe(self._begin_removal, workspace_id)

    # -- removal -------------------------------------------------------------------------------------------

    def _begin_removal(self, workspace: str) -> None:
        if workspace not in self._removals:
            task = asyncio.create_task(self._remove(workspace), name=f"remove workspace {workspace}")
            self._removals[workspace] = task

    async def _remove(self, workspace: str) -> None:
        await self._attached.wait()
        while True:
            for forget in self._forgetters:
                forget(workspace)
            try:
                for keeper in self._keepers:
                    await keeper.remove(workspace)
                await self._loop.run_in_executor(self._thread, self._gone, workspace)
            except StoreFailed as error:
                _log.warning("cannot remove the data of workspace %s, trying again: %s", workspace, error)
                await asyncio.sleep(_RETRY_S)
                continue
            self._views.pop(workspace, None)
            del self._removals[workspace]
            return

    def _gone(self, workspace: str) -> None:
        if self.control is None:
            raise AssertionError("bug: a removal before start")
        self.control.deleted(workspace)

    async def shutdown(self) -> None:
        """Stop; what is not removed yet is removed after the next start."""
        for task in self._removals.values():
            task.cancel()
        await asyncio.gather(*self._removals.values(), return_exceptions=True)
        self._removals.clear()


def _view(workspace: Workspace) -> ManagedWorkspace:
    return ManagedWorkspace(
        workspace.id,
        workspace.status in _SERVING,
        workspace.retention_days * _DAY_MS,
        workspace.out_of_order_s * 1000,
        workspace.tags,
        workspace.policy.document if workspace.policy is not None else None,
    )
