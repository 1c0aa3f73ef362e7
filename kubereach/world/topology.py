"""Who must answer where a Service prefers endpoints that are near.

Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-distribution
"""

from __future__ import annotations

from collections.abc import Mapping

from kubereach.kube.cluster import Cluster
from kubereach.model.errors import CannotMeasure
from kubereach.world.service import Service


def by_node(service: Service, cluster: Cluster) -> Mapping[str, frozenset[str]]:
    """Its pods on each node; on a node without any those of the node's zone, else all."""
    zones = by_zone(service, cluster)
    on = service.endpoints.by_node
    return {node.name: on.get(node.name) or zones[node.name] for node in cluster.nodes}


def by_zone(service: Service, cluster: Cluster) -> Mapping[str, frozenset[str]]:
    """For each node its pods in the node's zone, else all. With a pod on a node without a zone: all."""
    zone_of = {node.name: node.zone for node in cluster.nodes}
    found: dict[str, frozenset[str]] = {}
    for node, pods in service.endpoints.by_node.items():
        found[zone_of.get(node, "")] = found.get(zone_of.get(node, ""), frozenset()) | pods
    everywhere = service.endpoints
    return {
        node: everywhere if "" in found else found.get(zone, everywhere) for node, zone in zone_of.items()
    }


def one_of_each_zone(service: Service, cluster: Cluster) -> dict[str, str]:
    """One of its pods for each zone that has any. Raises `CannotMeasure` when that is one zone alone."""
    zone_of = {node.name: node.zone for node in cluster.nodes}
    found: dict[str, str] = {}
    for node, pods in sorted(service.endpoints.by_node.items()):
        found.setdefault(zone_of.get(node, ""), min(pods))
    if len(found) < 2:
        raise CannotMeasure(f"all pods of {service.name} are in one zone", "Schedule them to several zones.")
    return found
