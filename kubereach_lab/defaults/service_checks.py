"""What is refused of a Service's spec, in the server's order.

Source: pkg/apis/core/validation (ValidateService, ValidateServiceUpdate) of Kubernetes.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from kubereach_lab import versions
from kubereach_lab.defaults import names
from kubereach_lab.defaults.families import check_changes, check_families
from kubereach_lab.defaults.service_spec import (
    is_externally_accessible,
    is_headless,
    needs_health_check_port,
)
from kubereach_lab.status import (
    Cause,
    Object,
    duplicate,
    forbidden_field,
    invalid_value,
    required,
    unsupported_value,
)

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_MOST_AFFINITY_SECONDS = 86400


def check_update(spec: Object, old: Object) -> list[Cause]:
    causes = check_changes(spec, old)
    both_balanced = old.get("type") == spec.get("type") == "LoadBalancer"
    if both_balanced and spec.get("loadBalancerClass") != old.get("loadBalancerClass"):
        causes.append(
            invalid_value("spec.loadBalancerClass", spec.get("loadBalancerClass"), "may not change once set")
        )
    return causes


def check_spec(spec: Object) -> list[Cause]:
    kind = spec["type"]
    causes: list[Cause] = []
    ports: list[Any] = spec.get("ports") or []
    if not ports and not is_headless(spec) and kind != "ExternalName":
        causes.append(required("spec.ports"))
    if is_headless(spec) and kind in ("NodePort", "LoadBalancer"):
        causes.append(
            invalid_value("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
        )
    if kind == "ExternalName":
        if spec.get("clusterIP") or spec.get("clusterIPs"):
            causes.append(forbidden_field("spec.clusterIPs", "may not be set for ExternalName services"))
        target = spec.get("externalName", "")
        if not target:
            causes.append(required("spec.externalName"))
        else:
            problems = names.subdomain_problems(target.removesuffix("."))
            causes += [invalid_value("spec.externalName", target, text) for text in problems]
    causes += _check_ports(ports, kind)
    causes += names.check_labels(spec.get("selector") or {}, "spec.selector")
    causes += _check_affinity(spec)
    if kind != "ExternalName":
        causes += check_families(spec)
    causes += _check_external_ips(spec)
    if kind not in TYPES:
        causes.append(unsupported_value("spec.type", kind, TYPES))
    causes += _check_node_port_use(ports, kind)
    causes += _check_load_balancer(spec)
    causes += _check_policies(spec)
    return causes


def _check_ports(ports: list[Any], kind: str) -> list[Cause]:
    causes: list[Cause] = []
    seen_names: set[str] = set()
    seen: set[tuple[str, int]] = set()
    for i, port in enumerate(ports):
        path = f"spec.ports[{i}]"
        name = port.get("name", "")
        if len(ports) > 1 and not name:
            causes.append(required(f"{path}.name"))
        elif name:
            causes += [invalid_value(f"{path}.name", name, text) for text in names.label_problems(name)]
            if name in seen_names:
                causes.append(duplicate(f"{path}.name", name))
            seen_names.add(name)
        number, target, protocol = port["port"], port["targetPort"], port["protocol"]
        if not 1 <= number <= 65535:
            causes.append(invalid_value(f"{path}.port", number, "must be between 1 and 65535, inclusive"))
        if protocol not in ("TCP", "UDP", "SCTP"):
            causes.append(unsupported_value(f"{path}.protocol", protocol, ("TCP", "UDP", "SCTP")))
        if isinstance(target, str):
            causes += [
                invalid_value(f"{path}.targetPort", target, text) for text in names.port_name_problems(target)
            ]
        elif not 1 <= target <= 65535:
            causes.append(
                invalid_value(f"{path}.targetPort", target, "must be between 1 and 65535, inclusive")
            )
        if (protocol, number) in seen:
            causes.append(duplicate(path, _port_key(protocol, number, 0)))
        seen.add((protocol, number))
    seen_node_ports: set[tuple[str, int]] = set()
    for i, port in enumerate(ports):
        if not (node_port := port.get("nodePort")) or kind == "ClusterIP":
            continue
        key = (port["protocol"], node_port)
        if key in seen_node_ports:
            causes.append(duplicate(f"spec.ports[{i}].nodePort", _port_key(port["protocol"], 0, node_port)))
        seen_node_ports.add(key)
    return causes


def _port_key(protocol: str, port: int, node_port: int) -> dict[str, object]:
    # the server prints its internal type, Go field names and all
    return {
        "Name": "",
        "Protocol": protocol,
        "AppProtocol": None,
        "Port": port,
        "TargetPort": 0,
        "NodePort": node_port,
    }


def _check_node_port_use(ports: list[Any], kind: str) -> list[Cause]:
    if kind not in ("ClusterIP", "ExternalName"):
        return []
    text = f"may not be used when `type` is '{kind}'"
    return [
        forbidden_field(f"spec.ports[{i}].nodePort", text)
        for i, port in enumerate(ports)
        if port.get("nodePort")
    ]


def _check_affinity(spec: Object) -> list[Cause]:
    affinity = spec["sessionAffinity"]
    if affinity not in ("None", "ClientIP"):
        return [unsupported_value("spec.sessionAffinity", affinity, ("ClientIP", "None"))]
    if affinity == "ClientIP":
        seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
        if not 0 < seconds <= _MOST_AFFINITY_SECONDS:
            text = f"must be greater than 0 and less than {_MOST_AFFINITY_SECONDS}"
            return [invalid_value("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, text)]
    return []


def _check_external_ips(spec: Object) -> list[Cause]:
    causes: list[Cause] = []
    for i, address in enumerate(spec.get("externalIPs") or ()):
        field = f"spec.externalIPs[{i}]"
        if found := names.check_ip(address, field):
            causes += found
            continue
        ip = ipaddress.ip_address(address)
        if ip.is_loopback:
            text = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
            causes.append(invalid_value(field, address, text))
        elif ip.is_unspecified:
            causes.append(invalid_value(field, address, f"may not be unspecified ({address})"))
    return causes


def _check_load_balancer(spec: Object) -> list[Cause]:
    causes: list[Cause] = []
    ranges = spec.get("loadBalancerSourceRanges") or []
    only_balanced = "may only be used when `type` is 'LoadBalancer'"
    if spec["type"] != "LoadBalancer":
        if ranges:
            causes.append(forbidden_field("spec.LoadBalancerSourceRanges", only_balanced))
        if "allocateLoadBalancerNodePorts" in spec:
            causes.append(forbidden_field("spec.allocateLoadBalancerNodePorts", only_balanced))
        if "loadBalancerClass" in spec:
            causes.append(forbidden_field("spec.loadBalancerClass", only_balanced))
        return causes
    for i, cidr in enumerate(ranges):
        try:
            ipaddress.ip_network(cidr.strip(), strict=False)
        except ValueError:
            text = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            causes.append(invalid_value(f"spec.LoadBalancerSourceRanges[{i}]", cidr, text))
    if name := spec.get("loadBalancerClass"):
        problems = names.qualified_name_problems(name)
        causes += [invalid_value("spec.loadBalancerClass", name, text) for text in problems]
    return causes


def _check_policies(spec: Object) -> list[Cause]:
    causes: list[Cause] = []
    external = spec.get("externalTrafficPolicy")
    if external is not None:
        if not is_externally_accessible(spec):
            text = "may only be set for externally-accessible services"
            causes.append(invalid_value("spec.externalTrafficPolicy", external, text))
        elif external not in ("Cluster", "Local"):
            causes.append(unsupported_value("spec.externalTrafficPolicy", external, ("Cluster", "Local")))
    if (port := spec.get("healthCheckNodePort")) and not needs_health_check_port(spec):
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(invalid_value("spec.healthCheckNodePort", port, text))
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in ("Cluster", "Local"):
        causes.append(unsupported_value("spec.internalTrafficPolicy", internal, ("Cluster", "Local")))
    return causes


def check_distribution(spec: Object, minor: int) -> list[Cause]:
    distribution = spec.get("trafficDistribution")
    known = ["PreferClose", *(["PreferSameZone", "PreferSameNode"] if minor >= versions.PREFER_SAME else [])]
    if distribution is None or distribution in known:
        return []
    return [unsupported_value("spec.trafficDistribution", distribution, known, ordered=True)]
