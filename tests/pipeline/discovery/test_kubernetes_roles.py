"""Which targets the objects of a cluster make, with exactly which labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from discovery_lab import DiscoveryLab
from headrace.pipeline.discovery.kubernetes import KubernetesDiscovery, KubernetesSdConfig
from headrace.pipeline.discovery.kubernetes.resources import PODS, prune
from kubernetes_api import KubernetesApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

META = {"labels": {"app.kubernetes.io/name": "web"}, "annotations": {"a-b": "c"}}
OWNER = [{"kind": "Node", "name": "x"}, {"kind": "ReplicaSet", "name": "web-1", "controller": True}]


@pytest.fixture
async def lab() -> DiscoveryLab:
    return DiscoveryLab()


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    made = await KubernetesApi().start()
    yield made
    await made.close()


def discovery(lab: DiscoveryLab, api: KubernetesApi, role: str, **attach: bool) -> KubernetesDiscovery:
    config = {"api_server": api.url, "role": role, "attach_metadata": attach}
    return KubernetesDiscovery(lab.settings, KubernetesSdConfig.model_validate(config))


async def found(lab: DiscoveryLab, api: KubernetesApi, role: str, **attach: bool) -> list[dict[str, str]]:
    """Return the targets of a cluster, without the prefix of their labels."""
    async with lab.running(discovery(lab, api, role, **attach)):
        await lab.until(lambda: lab.published > 0, "published")
    return short(lab)


def short(lab: DiscoveryLab) -> list[dict[str, str]]:
    return [
        {name.removeprefix("__meta_kubernetes_"): value for name, value in target.items()} for target in lab.targets()
    ]


def described(role: str, name: str) -> dict[str, str]:
    """Return the labels of an object with the metadata of these tests."""
    return {
        f"{role}_name": name,
        f"{role}_label_app_kubernetes_io_name": "web",
        f"{role}_labelpresent_app_kubernetes_io_name": "true",
        f"{role}_annotation_a_b": "c",
        f"{role}_annotationpresent_a_b": "true",
    }


def pod(api: KubernetesApi, name: str = "web-1-x", **changes: Any) -> None:
    spec = {
        "nodeName": "n1",
        "containers": [
            {"name": "web", "image": "web:1", "ports": [
                {"name": "http", "containerPort": 80, "protocol": "TCP"}, {"containerPort": 9100, "protocol": "UDP"},
            ]},
            {"name": "side", "image": "side:1"},
        ],
        "initContainers": [{"name": "first", "image": "first:1"}],
        "volumes": ["not kept"],
    }  # fmt: skip
    status = {
        "podIP": "10.0.0.1", "hostIP": "192.0.2.1", "phase": "Running",
        "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "web", "containerID": "docker://1"}],
        "initContainerStatuses": [{"name": "first", "containerID": "docker://2"}],
    }  # fmt: skip
    metadata = {**META, "uid": "u1", "ownerReferences": OWNER}
    api.put("pods", name, "default", **{"metadata": metadata, "spec": spec, "status": status, **changes})


POD = {
    "namespace": "default", "pod_ip": "10.0.0.1", "pod_ready": "true", "pod_phase": "Running", "pod_node_name": "n1",
    "pod_host_ip": "192.0.2.1", "pod_uid": "u1", "pod_controller_kind": "ReplicaSet", "pod_controller_name": "web-1",
    **described("pod", "web-1-x"),
}  # fmt: skip
WEB = {"pod_container_name": "web", "pod_container_image": "web:1", "pod_container_init": "false"}
HTTP = {
    **WEB, "pod_container_port_name": "http", "pod_container_port_number": "80", "pod_container_port_protocol": "TCP",
}  # fmt: skip
OTHER = {**WEB, "pod_container_port_number": "9100", "pod_container_port_protocol": "UDP"}
NODE = described("node", "n1")


def node(api: KubernetesApi, name: str = "n1", **changes: Any) -> None:
    status = {
        "addresses": [
            {"type": "Hostname", "address": "n1.test"}, {"type": "InternalIP", "address": "2001:db8::1"},
            {"type": "InternalIP", "address": "10.1.0.1"},
        ],
        "conditions": [{"type": "MemoryPressure", "status": "Unknown"}, {"type": "Ready", "status": "True"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    }  # fmt: skip
    spec = {"providerID": "cloud:///1"}
    api.put("nodes", name, **{"metadata": META, "spec": spec, "status": status, **changes})


async def test_node(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """The kubelet, at the first address of the best type."""
    node(api)
    node(api, "n2", status={"addresses": [{"type": "ExternalDNS", "address": "n2.test"}]}, spec={}, metadata={})
    node(api, "n3", status={}, metadata={})
    assert await found(lab, api, "node") == [
        {
            "__address__": "[2001:db8::1]:10250",
            "instance": "n1",
            "node_provider_id": "cloud:///1",
            "node_condition_memorypressure": "unknown",
            "node_condition_ready": "true",
            "node_address_Hostname": "n1.test",
            "node_address_InternalIP": "2001:db8::1",
            **NODE,
        },
        {"__address__": "n2.test:0", "instance": "n2", "node_name": "n2", "node_address_ExternalDNS": "n2.test"},
    ]


async def test_pod(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """A target for each port, and one for each container without ports; none before there is an address."""
    pod(api)
    pod(api, "starting", status={"phase": "Pending"})
    first = {
        "pod_container_name": "first", "pod_container_image": "first:1", "pod_container_init": "true",
        "pod_container_id": "docker://2",
    }  # fmt: skip
    side = {"pod_container_name": "side", "pod_container_image": "side:1", "pod_container_init": "false"}
    assert await found(lab, api, "pod") == [
        {"__address__": "10.0.0.1", **POD, **first},
        {"__address__": "10.0.0.1", **POD, **side},
        {"__address__": "10.0.0.1:80", **POD, **HTTP, "pod_container_id": "docker://1"},
        {"__address__": "10.0.0.1:9100", **POD, **OTHER, "pod_container_id": "docker://1"},
    ]
    assert sorted(lab.groups) == ["pod/default/web-1-x"]


async def test_a_pod_that_is_not_known_to_be_ready(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """Says so."""
    pod(api, status={"podIP": "10.0.0.1"})
    assert {target["pod_ready"] for target in await found(lab, api, "pod")} == {"unknown"}


async def test_pods_get_labels_of_their_node_and_namespace(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """They follow changes; pods of nodes that are not there are left out."""
    node(api)
    pod(api)
    pod(api, "elsewhere", spec={"nodeName": "n9", "containers": [{"name": "web"}]})
    api.put("namespaces", "default", metadata=META)
    async with lab.running(discovery(lab, api, "pod", node=True, namespace=True)):
        await lab.until(lambda: len(lab.groups) == 1, "one pod")
        namespace = {name: value for name, value in described("namespace", "").items() if name != "namespace_name"}
        for target in short(lab):
            assert {**target, **POD, **NODE, **namespace} == target
        node(api, metadata={"labels": {"zone": "a"}})
        await lab.until(lambda: short(lab)[0].get("node_label_zone") == "a", "the node has changed")
        api.put("namespaces", "default", metadata={"labels": {"team": "b"}})
        await lab.until(lambda: short(lab)[0].get("namespace_label_team") == "b", "the namespace has changed")
        api.delete("nodes", "n1")
        await lab.until(lambda: not lab.groups, "the node is gone")
        node(api, "n9")
        await lab.until(lambda: list(lab.groups) == ["pod/default/elsewhere"], "the other node is there")


async def test_names_of_deployments_jobs_and_cron_jobs(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """From what controls the pod, and what controls that; where they are asked for."""
    pod(api)
    job = [{"kind": "Job", "name": "nightly-1", "controller": True}]
    pod(api, "nightly-1-x", metadata={"ownerReferences": job}, spec={"containers": [{"name": "job"}]})
    api.put("replicasets", "web-1", "default", metadata={
        "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}]})  # fmt: skip
    api.put("jobs", "nightly-1", "default", metadata={
        "ownerReferences": [{"kind": "CronJob", "name": "nightly", "controller": True}]})  # fmt: skip
    attach = {"deployment": True, "job": True, "cronjob": True}
    async with lab.running(discovery(lab, api, "pod", **attach)):
        await lab.until(lambda: len(lab.groups) == 2, "both pods")
        web, nightly = lab.groups["pod/default/web-1-x"].labels, lab.groups["pod/default/nightly-1-x"].labels
        assert web["__meta_kubernetes_pod_deployment_name"] == "web"
        assert nightly["__meta_kubernetes_pod_job_name"] == "nightly-1"
        assert nightly["__meta_kubernetes_pod_cronjob_name"] == "nightly"
        api.delete("replicasets", "web-1", "default")
        name = "__meta_kubernetes_pod_deployment_name"
        await lab.until(lambda: name not in lab.groups["pod/default/web-1-x"].labels, "the replica set is gone")


def service(api: KubernetesApi, **spec: Any) -> None:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    status = spec.pop("status", {})
    api.put("services", "web", "default", metadata=META, spec={"type": "ClusterIP", "ports": ports, **spec},
            status=status)  # fmt: skip


SERVICE = {"namespace": "default", **described("service", "web")}


@pytest.mark.parametrize(
    ("spec", "labels"),
    [
        ({"clusterIP": "10.2.0.1"}, {"service_type": "ClusterIP", "service_cluster_ip": "10.2.0.1"}),
        ({"type": "ExternalName", "externalName": "x.test", "clusterIP": "no"},
         {"service_type": "ExternalName", "service_external_name": "x.test"}),
        ({"type": "LoadBalancer", "clusterIP": "10.2.0.1", "loadBalancerIP": "192.0.2.9"},
         {"service_type": "LoadBalancer", "service_cluster_ip": "10.2.0.1", "service_loadbalancer_ip": "192.0.2.9"}),
        ({"type": "LoadBalancer", "loadBalancerIP": "192.0.2.9",
          "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "h"}, {"ip": "192.0.2.2"}]}}},
         {"service_type": "LoadBalancer", "service_loadbalancer_ip": "192.0.2.1,192.0.2.2"}),
    ],
)  # fmt: skip
async def test_service(lab: DiscoveryLab, api: KubernetesApi, spec: dict[str, Any], labels: dict[str, str]) -> None:
    """A target for each port, with the addresses that its type has."""
    service(api, **spec)
    port = {"service_port_name": "http", "service_port_number": "80", "service_port_protocol": "TCP"}
    assert await found(lab, api, "service") == [{"__address__": "web.default.svc:80", **SERVICE, **port, **labels}]
    assert list(lab.groups) == ["svc/default/web"]


async def test_ingress(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """A target for each path; https where a certificate covers the host."""
    spec = {
        "ingressClassName": "nginx",
        "tls": [{"hosts": ["*.lake.test", "web.test"]}],
        "rules": [
            {"host": "a.lake.test", "http": {"paths": [{"path": "/x"}, {"backend": {}}]}},
            {"host": "a.b.lake.test"},
            {"host": "lake.test", "http": {"paths": []}},
        ],
    }
    api.put("ingresses", "web", "default", metadata=META, spec=spec)
    common = {"namespace": "default", "ingress_class_name": "nginx", **described("ingress", "web")}
    expected = [("a.b.lake.test", "http", "/"), ("a.lake.test", "https", "/"), ("a.lake.test", "https", "/x")]
    assert await found(lab, api, "ingress") == [
        {"__address__": host, **common, "ingress_host": host, "ingress_scheme": scheme, "ingress_path": path}
        for host, scheme, path in expected
    ]


async def test_endpoints(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """A target for each address and port, and for the ports of its pods that it does not name."""
    pod(api)
    service(api)
    reference = {"kind": "Pod", "name": "web-1-x", "namespace": "default"}
    subset = {
        "ports": [{"name": "web", "port": 80, "protocol": "TCP"}],
        "addresses": [{"ip": "10.0.0.1", "targetRef": reference, "nodeName": "n1", "hostname": "h"}],
        "notReadyAddresses": [{"ip": "10.0.0.2"}],
    }
    api.put("endpoints", "web", "default", metadata=META, subsets=[subset])
    common = {**SERVICE, **described("endpoints", "web")}
    endpoint = {"endpoint_port_name": "web", "endpoint_port_protocol": "TCP", "endpoint_ready": "true"}
    assert await found(lab, api, "endpoints") == [
        {
            "__address__": "10.0.0.1:80", **common, **endpoint, **POD, **HTTP, "endpoint_hostname": "h",
            "endpoint_node_name": "n1", "endpoint_address_target_kind": "Pod",
            "endpoint_address_target_name": "web-1-x",
        },
        {"__address__": "10.0.0.1:9100", **common, **POD, **OTHER},
        {"__address__": "10.0.0.2:80", **common, **endpoint, "endpoint_ready": "false"},
    ]  # fmt: skip
    assert list(lab.groups) == ["endpoints/default/web"]


def a_slice(api: KubernetesApi, name: str = "web-abc", **changes: Any) -> None:
    labels = {"kubernetes.io/service-name": "web"}
    endpoint = {
        "addresses": ["10.0.0.1"], "conditions": {"ready": True, "serving": False},
        "targetRef": {"kind": "Pod", "name": "web-1-x", "namespace": "default"}, "nodeName": "n1", "zone": "z1",
        "hostname": "h", "deprecatedTopology": {"topology.kubernetes.io/region": "r"},
    }  # fmt: skip
    ports = [{"name": "web", "port": 80, "protocol": "TCP", "appProtocol": "http"}]
    api.put("endpointslices", name, "default", **{
        "metadata": {"labels": labels}, "addressType": "IPv4", "endpoints": [endpoint], "ports": ports, **changes,
    })  # fmt: skip


async def test_endpointslice(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """As for endpoints, with what slices say besides."""
    pod(api)
    service(api)
    a_slice(api)
    common = {
        **SERVICE, "endpointslice_name": "web-abc", "endpointslice_address_type": "IPv4",
        "endpointslice_label_kubernetes_io_service_name": "web",
        "endpointslice_labelpresent_kubernetes_io_service_name": "true",
    }  # fmt: skip
    assert await found(lab, api, "endpointslice") == [
        {
            "__address__": "10.0.0.1:80", **common, **POD, **HTTP, "endpointslice_port": "80",
            "endpointslice_port_name": "web", "endpointslice_port_protocol": "TCP",
            "endpointslice_port_app_protocol": "http", "endpointslice_endpoint_conditions_ready": "true",
            "endpointslice_endpoint_conditions_serving": "false", "endpointslice_endpoint_hostname": "h",
            "endpointslice_endpoint_node_name": "n1", "endpointslice_endpoint_zone": "z1",
            "endpointslice_address_target_kind": "Pod", "endpointslice_address_target_name": "web-1-x",
            "endpointslice_endpoint_topology_topology_kubernetes_io_region": "r",
            "endpointslice_endpoint_topology_present_topology_kubernetes_io_region": "true",
        },
        {"__address__": "10.0.0.1:9100", **common, **POD, **OTHER},
    ]  # fmt: skip


async def test_a_slice_without_ports_numbers_or_endpoints(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """A port may have no number; null is what the API writes for an empty list."""
    a_slice(api, endpoints=None)
    a_slice(api, "b", ports=None)
    a_slice(api, "c", ports=[{"name": "any"}], endpoints=[{"addresses": ["10.0.0.3"], "conditions": {}}])
    assert [target["__address__"] for target in await found(lab, api, "endpointslice")] == ["10.0.0.3"]


async def test_the_second_family_of_a_service_is_left_out(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """Its endpoints are those of the first; a service with one family has whatever it has."""
    service(api, ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv6", "IPv4"])
    a_slice(api)
    a_slice(api, "web-v6", addressType="IPv6", endpoints=[{"addresses": ["2001:db8::5"]}])
    async with lab.running(discovery(lab, api, "endpointslice")):
        await lab.until(lambda: lab.addresses() == ["[2001:db8::5]:80"], "one family")
        service(api, ipFamilyPolicy="SingleStack", ipFamilies=["IPv6"])
        await lab.until(lambda: len(lab.groups) == 2, "both slices")


@pytest.mark.parametrize("role", ["endpoints", "endpointslice"])
async def test_endpoints_follow_what_they_refer_to(lab: DiscoveryLab, api: KubernetesApi, role: str) -> None:
    """A pod, a service or a node that comes, changes or goes changes their labels."""
    reference = {"kind": "Pod", "name": "web-1-x", "namespace": "default"}
    address = {"ip": "10.0.0.1", "targetRef": reference, "nodeName": "n1"}
    api.put("endpoints", "web", "default", subsets=[{"ports": [{"port": 80}], "addresses": [address]}])
    a_slice(api)
    async with lab.running(discovery(lab, api, role, node=True)):
        await lab.until(lambda: len(lab.targets()) == 1, "alone")
        assert "pod_name" not in short(lab)[0]
        pod(api)
        await lab.until(lambda: len(lab.targets()) == 2, "with the other port of the pod")
        service(api)
        await lab.until(lambda: short(lab)[0].get("service_name") == "web", "the service is there")
        node(api)
        await lab.until(lambda: short(lab)[0].get("node_name") == "n1", "the node is there")
        node(api, metadata={"labels": {"zone": "a"}})
        await lab.until(lambda: short(lab)[0].get("node_label_zone") == "a", "the node has changed")
        api.delete("services", "web", "default")
        await lab.until(lambda: "service_name" not in short(lab)[0], "the service is gone")
        api.delete("pods", "web-1-x", "default")
        await lab.until(lambda: len(lab.targets()) == 1, "the pod is gone")


@pytest.mark.parametrize("role", ["endpoints", "endpointslice"])
async def test_endpoints_of_nodes(lab: DiscoveryLab, api: KubernetesApi, role: str) -> None:
    """An endpoint that is a node gets its labels without naming it twice."""
    node(api)
    reference = {"kind": "Node", "name": "n1"}
    address = {"ip": "10.0.0.1", "targetRef": reference}
    api.put("endpoints", "kubelet", "default", subsets=[{"ports": [{"port": 10250}], "addresses": [address]}])
    a_slice(api, endpoints=[{"addresses": ["10.0.0.1"], "targetRef": reference}])
    [target] = await found(lab, api, role, node=True)
    assert {**target, **NODE} == target


async def test_only_what_matters_is_kept(api: KubernetesApi) -> None:
    """The rest of a pod, which is most of it, is not remembered."""
    pod(api)
    kept = prune(api.objects["pods", "default", "web-1-x"], PODS.fields)
    assert set(kept["spec"]) == {"nodeName", "containers", "initContainers"}
    assert set(kept["metadata"]) == {
        "name", "namespace", "resourceVersion", "labels", "annotations", "uid", "ownerReferences",
    }  # fmt: skip
