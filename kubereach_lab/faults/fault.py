"""What a fault is, and how a lab asks whether it has one."""

from __future__ import annotations

from typing import ClassVar, overload

#: which part of a cluster is broken
DNS, PROXY, NETWORK, WORKLOAD = "dns", "service-proxy", "pod-network", "workload"
BALANCER, POLICY, INGRESS, NODE, API = "load-balancer", "policy", "ingress", "node", "api"
LAYERS = (API, DNS, INGRESS, BALANCER, NODE, NETWORK, POLICY, PROXY, WORKLOAD)


class Group:
    """The faults whose names begin with `prefix`, an attribute for each; of an instance it is whether it is there."""

    prefix: ClassVar[str]

    def __init__(self, names: frozenset[str]) -> None:
        """`names` of all faults that are there, also of other groups."""
        self.names = names


class Fault:
    """One defect: an attribute of a `Group`."""

    def __init__(self, what: str, layer: str, bug: str = "", *, nodes: tuple[int, ...] = ()) -> None:
        #: what is wrong, in one line
        self.what = what
        #: one of `LAYERS`
        self.layer = layer
        #: where a real cluster had it: issues, or the KEP that asks for what it lacks
        self.bug = bug
        #: the nodes that have it, by number, -1 for the last; empty: it is everywhere
        self.nodes = nodes
        #: ``proxy.one-node-stuck`` of the attribute ``one_node_stuck``
        self.name = ""

    def __set_name__(self, owner: type[Group], attribute: str) -> None:
        self.name = f"{owner.prefix}.{attribute.replace('_', '-')}"

    @overload
    def __get__(self, group: None, owner: type[Group]) -> Fault: ...
    @overload
    def __get__(self, group: Group, owner: type[Group]) -> bool: ...
    def __get__(self, group: Group | None, owner: type[Group]) -> Fault | bool:
        return self if group is None else self.name in group.names
