"""Targets of the role ``pod``, and what pods add to the targets of endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.pipeline.discovery.contract import ADDRESS, TargetGroup
from headrace.pipeline.discovery.kubernetes.labels import NAMESPACE, join, object_labels, present
from headrace.pipeline.discovery.kubernetes.resources import NODES, PODS, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.pipeline.discovery.kubernetes.labels import Labels, View
    from headrace.pipeline.discovery.kubernetes.resources import Object


def pod_group(pod: Object, view: View) -> TargetGroup:
    """Return a target for each port of each container, and one for each container without ports."""
    source = f"pod/{key_of(pod)}"
    node, namespace = pod.get("spec", {}).get("nodeName", ""), pod["metadata"].get("namespace", "")
    # A pod has no address while it starts, and after its eviction. A selector of nodes leaves out the pods of others.
    if not _address(pod) or (view.attach.node and view.find(NODES, node) is None):
        return TargetGroup(source)
    labels = {
        **pod_labels(pod, view),
        NAMESPACE: namespace,
        **view.node_labels(node),
        **view.namespace_labels(namespace),
    }
    return TargetGroup(source, tuple(_container_targets(pod)), labels)


def pod_labels(pod: Object, view: View) -> Labels:
    """Return the labels of a pod."""
    status = pod.get("status", {})
    return {
        **present(
            pod_ip=status.get("podIP"), pod_ready=_ready(status), pod_phase=status.get("phase"),
            pod_node_name=pod.get("spec", {}).get("nodeName"), pod_host_ip=status.get("hostIP"),
            pod_uid=pod["metadata"].get("uid"),
        ),
        **object_labels(pod, "pod"),
        **view.owner_labels(pod),
    }  # fmt: skip


class PodTargets:
    """Targets of endpoints that pods stand behind.

    Args:
        view: Where pods are looked up.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._seen: dict[str, tuple[Object, set[Any]]] = {}

    def extend(self, target: Labels, reference: Mapping[str, Any] | None, port: Any, protocol: str | None) -> Labels:
        """Return `target` with the labels of the pod that it refers to, if any, and of the container with its port.

        Args:
            target: Labels of the target.
            reference: The object that it refers to.
            port: Its port.
            protocol: Protocol of the port; that of the container's port by default.
        """
        pod = self._find(reference)
        if pod is None:
            return target
        self._seen.setdefault(key_of(pod), (pod, set()))[1].add(port)
        merged = {**target, **pod_labels(pod, self._view)}
        for container, init in _containers(pod):
            for own in container.get("ports") or ():
                if own.get("containerPort") == port:
                    merged |= _port_labels(container, own, init=init)
                    merged |= present(pod_container_port_protocol=protocol)
                    break
        return merged

    def rest(self) -> Iterator[Labels]:
        """Yield targets for those ports of the pods seen that no endpoint has."""
        for pod, ports in self._seen.values():
            address = _address(pod)
            for container, init in _containers(pod) if address else ():
                for own in container.get("ports") or ():
                    number = own.get("containerPort")
                    if number not in ports:
                        labels = {**_port_labels(container, own, init=init), **pod_labels(pod, self._view)}
                        yield {ADDRESS: join(address, number), **labels}

    def _find(self, reference: Mapping[str, Any] | None) -> Object | None:
        if not reference or reference.get("kind") != "Pod":
            return None
        return self._view.find(PODS, f"{reference.get('namespace', '')}/{reference.get('name', '')}")


def _container_targets(pod: Object) -> Iterator[Labels]:
    address, status = _address(pod), pod.get("status", {})
    ids = {
        (one.get("name"), init): one.get("containerID")
        for init, option in ((False, "containerStatuses"), (True, "initContainerStatuses"))
        for one in status.get(option) or ()
    }
    for container, init in _containers(pod):
        own = present(pod_container_id=ids.get((container.get("name"), init)))
        if not container.get("ports"):
            yield {ADDRESS: address, **own, **_container_labels(container, init=init)}
        for port in container.get("ports") or ():
            yield {ADDRESS: join(address, port.get("containerPort")), **own, **_port_labels(container, port, init=init)}


def _containers(pod: Object) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Yield the containers of a pod, each with whether it only prepares for the others."""
    spec = pod.get("spec", {})
    for init, option in ((False, "containers"), (True, "initContainers")):
        for container in spec.get(option) or ():
            yield container, init


def _container_labels(container: Mapping[str, Any], *, init: bool) -> Labels:
    return present(
        pod_container_name=container.get("name"), pod_container_image=container.get("image"), pod_container_init=init
    )


def _port_labels(container: Mapping[str, Any], port: Mapping[str, Any], *, init: bool) -> Labels:
    return {
        **_container_labels(container, init=init),
        **present(
            pod_container_port_name=port.get("name"), pod_container_port_number=port.get("containerPort"),
            pod_container_port_protocol=port.get("protocol"),
        ),
    }  # fmt: skip


def _address(pod: Object) -> str:
    return str(pod.get("status", {}).get("podIP") or "")


def _ready(status: Mapping[str, Any]) -> str:
    conditions = status.get("conditions") or ()
    return next((str(one.get("status", "")).lower() for one in conditions if one.get("type") == "Ready"), "unknown")
