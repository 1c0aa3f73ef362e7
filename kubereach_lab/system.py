"""What a cluster has before anybody uses it: namespaces, nodes, the API's own Service, cluster DNS."""

from __future__ import annotations

import os
import platform
import uuid
from pathlib import Path
from typing import Any

from kubereach_lab import versions
from kubereach_lab.config import LabConfig
from kubereach_lab.endpointslices import SERVICE
from kubereach_lab.kubelet.images import DNS_IMAGE
from kubereach_lab.registry import Registry
from kubereach_lab.times import now

Object = dict[str, Any]


def create_system(config: LabConfig, registry: Registry) -> None:
    """Create the objects of the system; controllers and kubelets do the rest."""
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        registry.create("namespaces", {"metadata": {"name": name}})
    for number in range(config.nodes):
        create_node(config, registry, number)
    _api_service(config, registry)
    if config.minor >= versions.SERVICE_CIDRS:
        _service_ranges(config, registry)
    _cluster_dns(config, registry)


def create_node(config: LabConfig, registry: Registry, number: int) -> None:
    """A node that is Ready."""
    name = config.node_names[number]
    labels = {
        "beta.kubernetes.io/arch": _arch(),
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": _arch(),
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    if zone := config.zone(number):
        labels["topology.kubernetes.io/zone"] = zone
    if number == 0:
        labels["node-role.kubernetes.io/control-plane"] = ""
    capacity = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{_memory()}Ki",
        "pods": "250",
        "ephemeral-storage": f"{_storage()}Ki",
    }
    stamp = now()
    pod_ranges = [str(plan.pod_range(number)) for plan in config.plans]

    def condition(kind: str, status: str, reason: str, message: str) -> Object:
        return {
            "type": kind,
            "status": status,
            "lastHeartbeatTime": stamp,
            "lastTransitionTime": stamp,
            "reason": reason,
            "message": message,
        }

    registry.create(
        "nodes",
        {
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
            },
            "spec": {"podCIDR": pod_ranges[0], "podCIDRs": pod_ranges},
        },
    )
    status = {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [
            condition(
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition(
                "PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"
            ),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "addresses": [
            *({"type": "InternalIP", "address": plan.node_address(number)} for plan in config.plans),
            {"type": "Hostname", "address": name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": uuid.uuid4().hex,
            "systemUUID": str(uuid.uuid4()),
            "bootID": _boot_id(),
            "kernelVersion": platform.release(),
            "osImage": "kubereach lab",
            "containerRuntimeVersion": "lab://1.0",
            "kubeletVersion": config.version,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": _arch(),
        },
    }
    registry.update("nodes", None, name, lambda node: node.update(status=status), subresource="status")


def _arch() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _boot_id() -> str:
    """This machine's, since it boots for all of its nodes."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _storage() -> int:
    """The size of the file system that containers see, in KiB."""
    facts = os.statvfs("/")
    return facts.f_blocks * facts.f_frsize // 1024


def _memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0


def _service_ranges(config: LabConfig, registry: Registry) -> None:
    """The ranges that cluster IPs are of, as the API server itself writes them down (KEP-1880)."""
    meta = {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]}
    cidrs = [str(plan.services) for plan in config.plans]
    registry.create("servicecidrs", {"metadata": meta, "spec": {"cidrs": cidrs}})
    message = "Kubernetes Service CIDR is ready"
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": now(), "reason": "", "message": message}
    registry.update(
        "servicecidrs",
        None,
        "kubernetes",
        lambda found: found.update(status={"conditions": [ready]}),
        subresource="status",
    )


def _api_service(config: LabConfig, registry: Registry) -> None:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.api_port}
    registry.create(
        "services",
        {
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
            "spec": {"clusterIP": config.api_service_address, "ports": [port]},
        },
    )
    registry.create(
        "endpointslices",
        {
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {SERVICE: "kubernetes"},
            },
            "addressType": config.plans[0].family,
            "endpoints": [{"addresses": [config.node_addresses[0]], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": config.api_port, "protocol": "TCP"}],
        },
    )
    registry.create(
        "endpoints",
        {
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [
                {
                    "addresses": [{"ip": config.node_addresses[0]}],
                    "ports": [{"name": "https", "port": config.api_port, "protocol": "TCP"}],
                }
            ],
        },
    )


def _cluster_dns(config: LabConfig, registry: Registry) -> None:
    labels = {"k8s-app": "kube-dns"}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    service_labels = {**labels, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    registry.create(
        "services",
        {
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": service_labels},
            "spec": {"clusterIP": config.dns_address, "selector": labels, "ports": ports},
        },
    )
    container = {
        "name": "coredns",
        "image": DNS_IMAGE,
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        # a busy machine may take its time: that makes no replica unready
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8181},
            "periodSeconds": 2,
            "timeoutSeconds": 10,
        },
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": 8080},
            "initialDelaySeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 5,
        },
    }
    registry.create(
        "deployments",
        {
            "metadata": {"name": "coredns", "namespace": "kube-system", "labels": labels},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "containers": [container],
                        "dnsPolicy": "Default",
                        "tolerations": [{"operator": "Exists"}],
                        "terminationGracePeriodSeconds": 1,
                    },
                },
            },
        },
    )
