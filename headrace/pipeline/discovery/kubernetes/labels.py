"""Labels that objects give to targets.

Source:
    Prometheus 3.14, "Configuration", section kubernetes_sd_config.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.pipeline.discovery.kubernetes.resources import JOBS, NAMESPACES, NODES, REPLICA_SETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.discovery.kubernetes.config import AttachMetadataConfig
    from headrace.pipeline.discovery.kubernetes.resources import Object, Resource
    from headrace.pipeline.discovery.kubernetes.watching import Store

META = "__meta_kubernetes_"
NAMESPACE = f"{META}namespace"

_INVALID = re.compile(r"[^a-zA-Z0-9_]")

Labels = dict[str, str]


@dataclass(slots=True)
class View:
    """Objects as one group of targets sees them.

    What is looked up is remembered, also where there is nothing: when one of these objects changes, the group has to be
    made again.

    Attributes:
        stores: Objects by the name of their kind.
        attach: Which other objects give labels.
        reads: Kind and key of what was looked up.
    """

    stores: Mapping[str, Store]
    attach: AttachMetadataConfig
    reads: set[tuple[str, str]] = field(default_factory=set)

    def find(self, resource: Resource, key: str) -> Object | None:
        """Return an object; None where there is none, or its kind is not watched."""
        store = self.stores.get(resource.name)
        if store is None:
            return None
        self.reads.add((resource.name, key))
        return store.objects.get(key)

    def node_labels(self, name: str | None) -> Labels:
        """Return the labels of a node, where they are asked for."""
        node = self.find(NODES, name) if self.attach.node and name else None
        return object_labels(node, "node") if node is not None else {}

    def namespace_labels(self, name: str) -> Labels:
        """Return the labels of a namespace, where they are asked for."""
        namespace = self.find(NAMESPACES, name) if self.attach.namespace else None
        return metadata_labels(namespace, "namespace") if namespace is not None else {}

    def owner_labels(self, pod: Object) -> Labels:
        """Return the labels of what controls a pod, and of what controls that, where it is asked for."""
        owner = controller(pod)
        kind, name = owner.get("kind", ""), owner.get("name", "")
        found = {f"{META}pod_controller_kind": kind, f"{META}pod_controller_name": name}
        key = f"{pod['metadata'].get('namespace', '')}/{name}"
        if kind == "ReplicaSet" and self.attach.deployment:
            found[f"{META}pod_deployment_name"] = self._owner_of(REPLICA_SETS, key, "Deployment")
        if kind == "Job" and self.attach.job:
            found[f"{META}pod_job_name"] = name
        if kind == "Job" and self.attach.cronjob:
            found[f"{META}pod_cronjob_name"] = self._owner_of(JOBS, key, "CronJob")
        return {label: value for label, value in found.items() if value}

    def _owner_of(self, resource: Resource, key: str, kind: str) -> str:
        found = self.find(resource, key)
        owner = controller(found) if found is not None else {}
        return str(owner.get("name", "")) if owner.get("kind") == kind else ""


def controller(found: Object) -> Mapping[str, Any]:
    """Return the owner of an object that controls it; nothing without one."""
    owners = found["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), {})


def object_labels(found: Object, role: str) -> Labels:
    """Return the labels with the name, the labels and the annotations of an object."""
    return {f"{META}{role}_name": found["metadata"]["name"], **metadata_labels(found, role)}


def metadata_labels(found: Object, role: str) -> Labels:
    """Return the labels with the labels and the annotations of an object."""
    labels: Labels = {}
    for what in ("label", "annotation"):
        for name, value in (found["metadata"].get(f"{what}s") or {}).items():
            clean = sanitize(name)
            labels[f"{META}{role}_{what}_{clean}"] = value
            labels[f"{META}{role}_{what}present_{clean}"] = "true"
    return labels


def sanitize(name: str) -> str:
    """Return `name` with an underscore for whatever a label name cannot have."""
    return _INVALID.sub("_", name)


def present(**values: Any) -> Labels:
    """Return labels ``__meta_kubernetes_<name>`` of those values that are there; booleans in lower case."""
    return {f"{META}{name}": text(value) for name, value in values.items() if value not in {None, ""}}


def text(value: Any) -> str:
    """Return a value of JSON as the text of a label."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def join(host: str, port: Any) -> str:
    """Return ``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
