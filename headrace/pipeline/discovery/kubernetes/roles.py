"""Groups of targets of the roles node, service and ingress, one for each object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.pipeline.discovery.contract import ADDRESS, TargetGroup
from headrace.pipeline.discovery.kubernetes.labels import META, NAMESPACE, join, object_labels, present, sanitize
from headrace.pipeline.discovery.kubernetes.resources import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.pipeline.discovery.kubernetes.labels import Labels, View
    from headrace.pipeline.discovery.kubernetes.resources import Object

_NODE_ADDRESSES = ("InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname")
"""Types of addresses, the first that there is becomes the target's."""


def node_group(node: Object, _view: View) -> TargetGroup:
    """Return the kubelet of a node."""
    name, status = node["metadata"]["name"], node.get("status", {})
    addresses: dict[str, str] = {}
    for one in status.get("addresses") or ():
        addresses.setdefault(one.get("type", ""), one.get("address", ""))
    address = next((addresses[type_] for type_ in _NODE_ADDRESSES if type_ in addresses), "")
    if not address:
        return TargetGroup(f"node/{name}")
    port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port", 0)
    target = {ADDRESS: join(address, port), "instance": name}
    target |= {f"{META}node_address_{sanitize(type_)}": value for type_, value in addresses.items()}
    conditions = status.get("conditions") or ()
    labels = {
        **present(node_provider_id=node.get("spec", {}).get("providerID")),
        **{f"{META}node_condition_{sanitize(one['type'].lower())}": one["status"].lower() for one in conditions},
        **object_labels(node, "node"),
    }
    return TargetGroup(f"node/{name}", (target,), labels)


def service_group(service: Object, view: View) -> TargetGroup:
    """Return a target for each port of a service, at its name within the cluster."""
    name, namespace = service["metadata"]["name"], service["metadata"].get("namespace", "")
    targets = tuple(
        {
            ADDRESS: join(f"{name}.{namespace}.svc", port.get("port")),
            **present(
                service_port_name=port.get("name"), service_port_number=port.get("port"),
                service_port_protocol=port.get("protocol"),
            ),
            **_service_facts(service),
        }
        for port in service.get("spec", {}).get("ports") or ()
    )  # fmt: skip
    labels = {**service_labels(service), **view.namespace_labels(namespace)}
    return TargetGroup(f"svc/{key_of(service)}", targets, labels)


def service_labels(service: Object) -> Labels:
    """Return the labels of a service."""
    return {NAMESPACE: service["metadata"].get("namespace", ""), **object_labels(service, "service")}


def ingress_group(ingress: Object, view: View) -> TargetGroup:
    """Return a target for each path of each host of an ingress."""
    spec, namespace = ingress.get("spec", {}), ingress["metadata"].get("namespace", "")
    labels = {
        NAMESPACE: namespace,
        **present(ingress_class_name=spec.get("ingressClassName")),
        **object_labels(ingress, "ingress"),
        **view.namespace_labels(namespace),
    }
    return TargetGroup(f"ingress/{key_of(ingress)}", tuple(_ingress_targets(spec)), labels)


def _service_facts(service: Object) -> Labels:
    spec = service.get("spec", {})
    type_ = spec.get("type")
    found = present(service_type=type_)
    if type_ == "ExternalName":
        return found | present(service_external_name=spec.get("externalName"))
    found |= present(service_cluster_ip=spec.get("clusterIP"))
    if type_ == "LoadBalancer":
        entries = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
        addresses = ",".join(one["ip"] for one in entries if one.get("ip"))
        found |= present(service_loadbalancer_ip=addresses or spec.get("loadBalancerIP"))
    return found


def _ingress_targets(spec: Mapping[str, Any]) -> Iterator[Labels]:
    secure = [host for tls in spec.get("tls") or () for host in tls.get("hosts") or ()]
    for rule in spec.get("rules") or ():
        host = rule.get("host", "")
        scheme = "https" if any(_covers(pattern, host) for pattern in secure) else "http"
        http = rule.get("http")
        paths = ["/"] if http is None else [path.get("path") or "/" for path in http.get("paths") or ()]
        for path in paths:
            found = present(ingress_scheme=scheme, ingress_host=host, ingress_path=path)
            yield {ADDRESS: host, **found}


def _covers(pattern: str, host: str) -> bool:
    """Tell whether a name of a certificate covers `host`; its first part may be a ``*``."""
    if pattern == host:
        return True
    first, _, rest = pattern.partition(".")
    return first == "*" and rest == host.partition(".")[2]
