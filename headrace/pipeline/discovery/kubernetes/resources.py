"""Kinds of objects: where the API has them, and which of their fields are used.

Objects are kept without the other fields: a pod has kilobytes, of which a few hundred bytes matter here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
"""An object as the API's JSON has it."""

Fields = Mapping[str, "Fields | None"]
"""Names of fields that are kept, each with those of its value; None for all of it."""

_META: Fields = dict.fromkeys(("name", "namespace", "resourceVersion", "labels", "annotations"))
_OWNED: Fields = {**_META, "uid": None, "ownerReferences": None}
_CONTAINER: Fields = dict.fromkeys(("name", "image", "ports"))
_STATUS: Fields = dict.fromkeys(("name", "containerID"))


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of objects.

    Attributes:
        name: In URLs, in the plural.
        group: Start of its URLs.
        fields: Fields that are kept.
        namespaced: Whether objects lie in namespaces.
    """

    name: str
    group: str
    fields: Fields
    namespaced: bool = True

    def path(self, namespace: str = "") -> str:
        """Return the path of all objects, or of those in one namespace."""
        return f"{self.group}/namespaces/{namespace}/{self.name}" if namespace else f"{self.group}/{self.name}"


_CORE = "/api/v1"

PODS = Resource("pods", _CORE, {
    "metadata": _OWNED,
    "spec": {"nodeName": None, "containers": _CONTAINER, "initContainers": _CONTAINER},
    "status": {
        "podIP": None, "hostIP": None, "phase": None, "conditions": {"type": None, "status": None},
        "containerStatuses": _STATUS, "initContainerStatuses": _STATUS,
    },
})  # fmt: skip
NODES = Resource("nodes", _CORE, {
    "metadata": _META,
    "spec": {"providerID": None},
    "status": {"addresses": None, "conditions": {"type": None, "status": None}, "daemonEndpoints": None},
}, namespaced=False)  # fmt: skip
NAMESPACES = Resource("namespaces", _CORE, {"metadata": _META}, namespaced=False)
SERVICES = Resource("services", _CORE, {
    "metadata": _META,
    "spec": dict.fromkeys(
        ("type", "clusterIP", "loadBalancerIP", "externalName", "ports", "ipFamilies", "ipFamilyPolicy")
    ),
    "status": {"loadBalancer": None},
})  # fmt: skip
ENDPOINTS = Resource("endpoints", _CORE, {"metadata": _META, "subsets": None})
SLICES = Resource(
    "endpointslices", "/apis/discovery.k8s.io/v1",
    {"metadata": _META, "addressType": None, "endpoints": None, "ports": None},
)  # fmt: skip
INGRESSES = Resource("ingresses", "/apis/networking.k8s.io/v1", {
    "metadata": _META,
    "spec": {"ingressClassName": None, "rules": None, "tls": {"hosts": None}},
})  # fmt: skip
REPLICA_SETS = Resource("replicasets", "/apis/apps/v1", {"metadata": _OWNED})
JOBS = Resource("jobs", "/apis/batch/v1", {"metadata": _OWNED})


def prune(value: Any, fields: Fields | None) -> Any:
    """Return `value` with the fields that are kept; a list is pruned entry by entry.

    >>> prune({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": {"c": None}})
    {'b': [{'c': 2}]}
    """
    if fields is None:
        return value
    if isinstance(value, list):
        return [prune(entry, fields) for entry in value]
    if not isinstance(value, dict):
        return value
    return {name: prune(value[name], below) for name, below in fields.items() if value.get(name) is not None}


def key_of(found: Object) -> str:
    """Return ``namespace/name`` of an object, or its name where it lies in no namespace."""
    meta = found["metadata"]
    namespace = meta.get("namespace")
    return f"{namespace}/{meta['name']}" if namespace else str(meta["name"])
