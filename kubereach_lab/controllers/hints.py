"""Zones of endpoints, and the hints by which service proxies keep traffic near its client.

Sources: https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-distribution, KEP-4444, KEP-3015.
"""

from __future__ import annotations

from kubereach_lab.controllers.meta import Object
from kubereach_lab.registry import Registry

#: the label of a node that says in which zone it is
ZONE = "topology.kubernetes.io/zone"
#: values of spec.trafficDistribution that ask for hints; PreferClose is the old name of PreferSameZone
_NEAR = ("PreferClose", "PreferSameZone", "PreferSameNode")


def zones(registry: Registry) -> dict[str, str]:
    """The zone of every node that has one."""
    labels = {
        node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in registry.list("nodes")
    }
    return {name: found[ZONE] for name, found in labels.items() if ZONE in found}


def add_hints(service: Object, endpoint: Object) -> None:
    """Say for whom an endpoint is, if its Service asks for that: only of ready endpoints, for node and zone alike.

    An endpoint for its node is for its zone too: a proxy whose node has none falls back to the zone.
    """
    distribution = service["spec"].get("trafficDistribution")
    if distribution not in _NEAR or not endpoint["conditions"]["ready"]:
        return
    hints: Object = {}
    if endpoint.get("zone"):
        hints["forZones"] = [{"name": endpoint["zone"]}]
    if endpoint.get("nodeName") and distribution == "PreferSameNode":
        hints["forNodes"] = [{"name": endpoint["nodeName"]}]
    if hints:
        endpoint["hints"] = hints
