"""Discovery in a Kubernetes cluster: objects are watched, and the groups they are part of made anew as they change."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from headrace.pipeline.discovery.contract import DiscoveryFactory, TargetGroup
from headrace.pipeline.discovery.kubernetes import resources as kinds
from headrace.pipeline.discovery.kubernetes.access import reach
from headrace.pipeline.discovery.kubernetes.api import Api
from headrace.pipeline.discovery.kubernetes.config import KubernetesSdConfig
from headrace.pipeline.discovery.kubernetes.endpoints import endpoints_group, slice_group
from headrace.pipeline.discovery.kubernetes.labels import View
from headrace.pipeline.discovery.kubernetes.pods import pod_group
from headrace.pipeline.discovery.kubernetes.roles import ingress_group, node_group, service_group
from headrace.pipeline.discovery.kubernetes.watching import Store, Watcher
from headrace.pipeline.prometheus_http import PrometheusClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from headrace.pipeline.discovery.contract import DiscoverySettings, Report
    from headrace.pipeline.discovery.kubernetes.access import Access
    from headrace.pipeline.discovery.kubernetes.config import Role
    from headrace.pipeline.discovery.kubernetes.resources import Object, Resource

    Publish = Callable[[Iterable[TargetGroup]], None]

_ROLES: Mapping[Role, tuple[Resource, Callable[[Object, View], TargetGroup]]] = {
    "node": (kinds.NODES, node_group),
    "pod": (kinds.PODS, pod_group),
    "service": (kinds.SERVICES, service_group),
    "endpoints": (kinds.ENDPOINTS, endpoints_group),
    "endpointslice": (kinds.SLICES, slice_group),
    "ingress": (kinds.INGRESSES, ingress_group),
}
"""Kind of the objects, and what makes a group of one."""

_WITH_PODS = ("pod", "endpoints", "endpointslice")
_SLICE = 200
"""Groups that are made between two looks at the event loop; a few milliseconds."""


class KubernetesDiscovery:
    """Watches the objects of one ``kubernetes_sd_config``."""

    def __init__(self, settings: DiscoverySettings, config: KubernetesSdConfig) -> None:
        self._settings = settings
        self._config = config
        self._sources: dict[str, set[str]] = {}

    async def run(self, publish: Publish) -> None:
        """Publish the groups of all objects, until cancelled.

        Raises:
            ConfigError: It cannot be told how the API server is reached, or a file does not load.
        """
        settings = self._settings
        access = await asyncio.to_thread(reach, self._config, settings.key)
        client = PrometheusClient(
            access.client, settings.key, user_agent=settings.user_agent, monotonic_s=settings.monotonic_s,
            warn=settings.logger.warning,
        )  # fmt: skip
        client.start(secure=access.url.startswith("https:"))
        try:
            await self._follow(Api(access.url, client), access, publish)
        finally:
            await client.close()

    async def _follow(self, api: Api, access: Access, publish: Publish) -> None:
        scopes = [
            Scope(self._config, publish, self._sources.setdefault(namespace, set()), self._settings.report)
            for namespace in self._namespaces(access)
        ]
        shared = {kind.name: Store(partial(_tell, scopes, kind.name)) for kind in self._cluster_wide()}
        async with asyncio.TaskGroup() as tasks:
            for kind in self._cluster_wide():
                tasks.create_task(self._watcher(api, kind, "", shared[kind.name]).run())
            for scope, namespace in zip(scopes, self._namespaces(access), strict=True):
                for kind in self._namespaced():
                    store = scope.add(kind.name)
                    tasks.create_task(self._watcher(api, kind, namespace, store).run())
                tasks.create_task(scope.run(shared))

    def _watcher(self, api: Api, kind: Resource, namespace: str, store: Store) -> Watcher:
        selectors = {}
        for selector in self._config.selectors:
            if _ROLES[selector.role][0] is kind:
                chosen = {"labelSelector": selector.label, "fieldSelector": selector.field}
                selectors = {name: text for name, text in chosen.items() if text}
        return Watcher(api, kind, namespace, selectors, store, self._settings.report)

    def _namespaces(self, access: Access) -> list[str]:
        """Return the namespaces to look at; one empty name stands for all."""
        if self._config.role == "node":
            return [""]
        names = list(self._config.namespaces.names)
        if self._config.namespaces.own_namespace and access.own_namespace:
            names.append(access.own_namespace)
        return list(dict.fromkeys(names)) or [""]

    def _namespaced(self) -> list[Resource]:
        """Return the kinds that are watched in each namespace."""
        role, attach = self._config.role, self._config.attach_metadata
        found = [_ROLES[role][0]]
        if role in {"endpoints", "endpointslice"}:
            found += [kinds.SERVICES, kinds.PODS]
        if role in _WITH_PODS and attach.deployment:
            found.append(kinds.REPLICA_SETS)
        if role in _WITH_PODS and (attach.job or attach.cronjob):
            found.append(kinds.JOBS)
        return found

    def _cluster_wide(self) -> list[Resource]:
        """Return the kinds that are watched once, beside the namespaces."""
        role, attach = self._config.role, self._config.attach_metadata
        nodes = [kinds.NODES] if attach.node and role in _WITH_PODS else []
        return nodes + ([kinds.NAMESPACES] if attach.namespace and role != "node" else [])


class Scope:
    """Groups of one namespace, or of all.

    Args:
        config: Settings.
        publish: Takes groups.
        sources: Sources of the groups that have been published and not withdrawn; outlives the scope.
        report: Told about objects that are not as they should be.
    """

    def __init__(self, config: KubernetesSdConfig, publish: Publish, sources: set[str], report: Report) -> None:
        self._config = config
        self._report = report
        self._kind, self._make = _ROLES[config.role]
        self._publish = publish
        self._sources = sources
        self._stores: dict[str, Store] = {}
        self._made: dict[str, _Made] = {}
        self._readers: dict[tuple[str, str], set[str]] = {}
        self._due: dict[str, None] = {}
        self._wake = asyncio.Event()

    def add(self, kind: str) -> Store:
        """Return a new store of objects that groups are made of."""
        store = self._stores[kind] = Store(partial(self.changed, kind))
        return store

    def changed(self, kind: str, key: str) -> None:
        """Take note that an object has come, changed or gone."""
        if kind == self._kind.name:
            self._due[key] = None
        for reader in self._readers.get((kind, key), ()):
            self._due[reader] = None
        if self._due:
            self._wake.set()

    async def run(self, shared: Mapping[str, Store]) -> None:
        """Publish groups once everything has been listed, and whenever they are others."""
        self._stores |= shared
        for store in list(self._stores.values()):
            await store.synced.wait()
        groups = await self._due_groups()
        there = {group.source for group in groups}
        self._hand_out([*groups, *(TargetGroup(source) for source in sorted(self._sources - there))])
        while True:
            await self._wake.wait()
            self._hand_out(await self._due_groups())

    def _hand_out(self, groups: list[TargetGroup]) -> None:
        self._sources |= {group.source for group in groups if group.targets}
        self._sources -= {group.source for group in groups if not group.targets}
        self._publish(groups)

    async def _due_groups(self) -> list[TargetGroup]:
        self._wake.clear()
        groups = []
        due, self._due = list(self._due), {}
        for start in range(0, len(due), _SLICE):
            groups += [group for key in due[start : start + _SLICE] if (group := self._group(key)) is not None]
            await asyncio.sleep(0)
        return groups

    def _group(self, key: str) -> TargetGroup | None:
        """Make the group of one object anew; an empty one where the object is gone, None where it never was."""
        before = self._made.pop(key, None)
        for read in before.reads if before is not None else ():
            self._readers[read].discard(key)
            if not self._readers[read]:
                del self._readers[read]
        source = before.source if before is not None else ""
        found = self._stores[self._kind.name].objects.get(key)
        if found is None:
            return TargetGroup(source) if source else None
        view = View(self._stores, self._config.attach_metadata)
        group = self._made_of(found, view, key)
        self._made[key] = _Made(group.source if group is not None else source, frozenset(view.reads))
        for read in view.reads:
            self._readers.setdefault(read, set()).add(key)
        return group

    def _made_of(self, found: Object, view: View, key: str) -> TargetGroup | None:
        """Make a group; an object that is not as the API has them is told of, and changes nothing."""
        about = f"{self._kind.name} {key}"
        try:
            group = self._make(found, view)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._report.failed("object", f"{type(error).__name__}: {error}", about)
            return None
        self._report.succeeded(about)
        return group


class _Made:
    """What a group was made of."""

    __slots__ = ("reads", "source")

    def __init__(self, source: str, reads: frozenset[tuple[str, str]]) -> None:
        self.source = source
        self.reads = reads


def _tell(scopes: list[Scope], kind: str, key: str) -> None:
    for scope in scopes:
        scope.changed(kind, key)


FACTORY = DiscoveryFactory(name="kubernetes", config=KubernetesSdConfig, create=KubernetesDiscovery)
