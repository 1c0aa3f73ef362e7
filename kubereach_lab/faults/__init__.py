"""The defects that a lab can have on demand.

A fault is a few lines beside the behaviour that it breaks, and off unless it is named: the attribute
``faults.proxy.one_node_stuck`` is whether a lab has ``proxy.one-node-stuck``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from kubereach_lab.faults.control_plane import Api, Endpoints, Workload
from kubereach_lab.faults.dns import Dns
from kubereach_lab.faults.fault import LAYERS, Fault, Group
from kubereach_lab.faults.network import LoadBalancer, Network, Node
from kubereach_lab.faults.proxy import DualStack, Proxy, Topology

__all__ = ["FAULTS", "HEALTHY", "LAYERS", "Fault", "Faults", "check_faults"]

_GROUPS: tuple[type[Group], ...] = (
    Api,
    Dns,
    DualStack,
    Endpoints,
    LoadBalancer,
    Network,
    Node,
    Proxy,
    Topology,
    Workload,
)
#: by name, sorted
FAULTS: dict[str, Fault] = {
    fault.name: fault for group in _GROUPS for fault in vars(group).values() if isinstance(fault, Fault)
}


class Faults:
    """The faults of one lab."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Raises ValueError for a name that is no fault."""
        self.names = frozenset(names)
        check_faults(self.names)
        self.api = Api(self.names)
        self.dns = Dns(self.names)
        self.dualstack = DualStack(self.names)
        self.endpoints = Endpoints(self.names)
        self.lb = LoadBalancer(self.names)
        self.net = Network(self.names)
        self.node = Node(self.names)
        self.proxy = Proxy(self.names)
        self.topology = Topology(self.names)
        self.workload = Workload(self.names)

    def __bool__(self) -> bool:
        return bool(self.names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Faults) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"Faults({sorted(self.names)})"


def check_faults(names: Iterable[str]) -> None:
    """Raise ValueError for a name that is no fault."""
    for name in names:
        if name not in FAULTS:
            near = difflib.get_close_matches(name, FAULTS, 3)
            hint = f"did you mean {', '.join(near)}? " if near else ""
            raise ValueError(f"there is no fault {name!r}; {hint}`kubereach lab faults` lists them")


#: no fault at all
HEALTHY = Faults()
