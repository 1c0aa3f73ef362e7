"""A Service's spec: what it needs, what is filled in, kept from before, and wiped by a change of type.

Sources: pkg/apis/core/v1/defaults.go and pkg/registry/core/service/{strategy,storage/storage}.go of Kubernetes.
"""

from __future__ import annotations

from kubereach_lab.status import Object

AFFINITY_SECONDS = 10800


def needs_cluster_ip(spec: Object) -> bool:
    return spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_port(spec: Object) -> bool:
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return spec.get("type") == "NodePort"


def needs_health_check_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_headless(spec: Object) -> bool:
    return spec.get("clusterIP") == "None" or (spec.get("clusterIPs") or [None])[0] == "None"


def is_externally_accessible(spec: Object) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer") or (
        spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
    )


def _drop_zero_values(spec: Object) -> None:
    for key in (
        "clusterIP",
        "externalName",
        "externalTrafficPolicy",
        "loadBalancerIP",
        "type",
        "sessionAffinity",
    ):
        if spec.get(key) == "":
            del spec[key]
    if not spec.get("healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    if spec.get("publishNotReadyAddresses") is False:
        del spec["publishNotReadyAddresses"]
    if spec.get("selector") == {}:
        del spec["selector"]
    for port in spec.get("ports") or ():
        if not port.get("nodePort"):
            port.pop("nodePort", None)
        if port.get("name") == "":
            del port["name"]


def set_defaults(spec: Object) -> None:
    """Fills in what was left out, in place (SetDefaults_Service)."""
    _drop_zero_values(spec)
    affinity = spec.setdefault("sessionAffinity", "None")
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        client_ip = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client_ip.setdefault("timeoutSeconds", AFFINITY_SECONDS)
    kind = spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("port", 0)
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]
    if is_externally_accessible(spec):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def keep_allocated(spec: Object, old: Object) -> None:
    """Carries over what a PUT may leave out: addresses, node ports, the health check's port."""
    if needs_cluster_ip(spec) and needs_cluster_ip(old):
        if not spec.get("clusterIP") and old.get("clusterIP"):
            spec["clusterIP"] = old["clusterIP"]
        if (
            not spec.get("clusterIPs")
            and spec.get("clusterIP") == old.get("clusterIP")
            and old.get("clusterIPs")
        ):
            spec["clusterIPs"] = list(old["clusterIPs"])
    if needs_node_port(spec) and needs_node_port(old):
        used = _node_ports(spec) & _node_ports(old)
        by_name = {port.get("name", ""): port.get("nodePort", 0) for port in old.get("ports") or ()}
        for port in spec.get("ports") or ():
            before = by_name.get(port.get("name", ""), 0)
            if not port.get("nodePort") and before and before not in used:
                port["nodePort"] = before
                used.add(before)
    if needs_health_check_port(spec) and needs_health_check_port(old) and old.get("healthCheckNodePort"):
        spec.setdefault("healthCheckNodePort", old["healthCheckNodePort"])


def _node_ports(spec: Object) -> set[int]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def normalise_cluster_ips(spec: Object, old: Object | None) -> None:
    """Keeps clusterIP, the older field, and clusterIPs in step, whichever of them the client wrote."""
    if old is None:
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        return
    same_ips = spec.get("clusterIPs") == old.get("clusterIPs")
    if not spec.get("clusterIP"):
        if old.get("clusterIP") and same_ips:
            spec.pop("clusterIPs", None)
    elif spec["clusterIP"] != old.get("clusterIP") and (same_ips or not spec.get("clusterIPs")):
        spec["clusterIPs"] = [spec["clusterIP"]]


def wipe_dependent(spec: Object, old: Object) -> None:
    """A change of type gives up the old type's fields where the client left them as they were."""

    def wipe(*keys: str) -> None:
        for key in keys:
            if spec.get(key) == old.get(key):
                spec.pop(key, None)

    if needs_cluster_ip(old) and not needs_cluster_ip(spec):
        wipe("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
    if needs_node_port(old) and not needs_node_port(spec) and _node_ports(old) == _node_ports(spec):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if needs_health_check_port(old) and not needs_health_check_port(spec):
        wipe("healthCheckNodePort")
    if old.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        wipe("allocateLoadBalancerNodePorts", "loadBalancerClass")
    if is_externally_accessible(old) and not is_externally_accessible(spec):
        wipe("externalTrafficPolicy")
    if old.get("type") != "ExternalName" and spec.get("type") == "ExternalName":
        wipe("internalTrafficPolicy")
    if old.get("type") == "ExternalName" and spec.get("type") != "ExternalName":
        wipe("externalName")
