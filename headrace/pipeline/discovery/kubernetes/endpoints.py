"""Groups of targets of the roles endpoints and endpointslice, one for each object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.pipeline.discovery.contract import ADDRESS, TargetGroup
from headrace.pipeline.discovery.kubernetes.labels import META, NAMESPACE, join, object_labels, present, sanitize
from headrace.pipeline.discovery.kubernetes.pods import PodTargets
from headrace.pipeline.discovery.kubernetes.resources import SERVICES, key_of
from headrace.pipeline.discovery.kubernetes.roles import service_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.discovery.kubernetes.labels import Labels, View
    from headrace.pipeline.discovery.kubernetes.resources import Object

_SERVICE_OF_SLICE = "kubernetes.io/service-name"
_TOPOLOGY = f"{META}endpointslice_endpoint_topology_"
_DUAL = ("PreferDualStack", "RequireDualStack")


def endpoints_group(endpoints: Object, view: View) -> TargetGroup:
    """Return a target for each address and port, and for the other ports of their pods."""
    namespace = endpoints["metadata"].get("namespace", "")
    service = view.find(SERVICES, key_of(endpoints))
    labels = {
        NAMESPACE: namespace,
        **(service_labels(service) if service is not None else {}),
        **object_labels(endpoints, "endpoints"),
        **view.namespace_labels(namespace),
    }
    pods = PodTargets(view)
    targets = [
        _endpoint(address, port, ready, view, pods)
        for subset in endpoints.get("subsets") or ()
        for port in subset.get("ports") or ()
        for ready, option in (("true", "addresses"), ("false", "notReadyAddresses"))
        for address in subset.get(option) or ()
    ]
    return TargetGroup(f"endpoints/{key_of(endpoints)}", (*targets, *pods.rest()), labels)


def slice_group(found: Object, view: View) -> TargetGroup:
    """Return the targets of an endpoint slice.

    Of a service with addresses of both families those of the second are left out: they are the same endpoints again.
    """
    namespace, source = found["metadata"].get("namespace", ""), f"endpointslice/{key_of(found)}"
    name = (found["metadata"].get("labels") or {}).get(_SERVICE_OF_SLICE)
    service = view.find(SERVICES, f"{namespace}/{name}") if name is not None else None
    if service is not None and _is_second_family(service, found):
        return TargetGroup(source)
    labels = {
        NAMESPACE: namespace,
        **present(endpointslice_address_type=found.get("addressType")),
        **object_labels(found, "endpointslice"),
        **(service_labels(service) if service is not None else {}),
        **view.namespace_labels(namespace),
    }
    pods = PodTargets(view)
    targets = [
        _slice_endpoint(address, endpoint, port, view, pods)
        for endpoint in found.get("endpoints") or ()
        for port in found.get("ports") or ()
        for address in endpoint.get("addresses") or ()
    ]
    return TargetGroup(source, (*targets, *pods.rest()), labels)


def _endpoint(address: Mapping[str, Any], port: Mapping[str, Any], ready: str, view: View, pods: PodTargets) -> Labels:
    reference, node = address.get("targetRef"), address.get("nodeName")
    target = {
        ADDRESS: join(address.get("ip", ""), port.get("port")),
        **present(
            endpoint_port_name=port.get("name"), endpoint_port_protocol=port.get("protocol"), endpoint_ready=ready,
            endpoint_node_name=node, endpoint_hostname=address.get("hostname"),
        ),
        **_reference_labels("endpoint", reference),
        **view.node_labels(node or _node_of(reference)),
    }  # fmt: skip
    return pods.extend(target, reference, port.get("port"), port.get("protocol"))


def _slice_endpoint(
    address: str, endpoint: Mapping[str, Any], port: Mapping[str, Any], view: View, pods: PodTargets
) -> Labels:
    reference, number = endpoint.get("targetRef"), port.get("port")
    conditions = endpoint.get("conditions") or {}
    target = {
        ADDRESS: address if number is None else join(address, number),
        **present(
            endpointslice_port_name=port.get("name"), endpointslice_port_protocol=port.get("protocol"),
            endpointslice_port=number, endpointslice_port_app_protocol=port.get("appProtocol"),
            endpointslice_endpoint_hostname=endpoint.get("hostname"),
            endpointslice_endpoint_node_name=endpoint.get("nodeName"),
            endpointslice_endpoint_zone=endpoint.get("zone"),
            **{f"endpointslice_endpoint_conditions_{name}": conditions.get(name)
               for name in ("ready", "serving", "terminating")},
        ),
        **_reference_labels("endpointslice", reference),
        **_topology_labels(endpoint.get("deprecatedTopology") or {}),
        **view.node_labels(_node_of(reference) or endpoint.get("nodeName")),
    }  # fmt: skip
    return pods.extend(target, reference, number, None)


def _reference_labels(role: str, reference: Mapping[str, Any] | None) -> Labels:
    given = reference or {}
    found = {"kind": given.get("kind"), "name": given.get("name")}
    return present(**{f"{role}_address_target_{what}": value for what, value in found.items()})


def _topology_labels(topology: Mapping[str, str]) -> Labels:
    labels: Labels = {}
    for name, value in topology.items():
        labels |= {f"{_TOPOLOGY}{sanitize(name)}": value, f"{_TOPOLOGY}present_{sanitize(name)}": "true"}
    return labels


def _node_of(reference: Mapping[str, Any] | None) -> str | None:
    return reference.get("name") if reference and reference.get("kind") == "Node" else None


def _is_second_family(service: Object, found: Object) -> bool:
    spec = service.get("spec", {})
    families = spec.get("ipFamilies")
    return spec.get("ipFamilyPolicy") in _DUAL and bool(families) and found.get("addressType") != families[0]
