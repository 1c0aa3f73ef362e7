"""Port numbers of nodes: the range of node ports, and numbers outside of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kubereach.kube.cluster import Node
from kubereach.model.address import Address
from kubereach.model.errors import Failure, NotConforming
from kubereach.world.connection import Connection
from kubereach.world.own_ports import first_port, listener
from kubereach.world.services import Services


class Ports:
    """What a run may use, and what it must not get, of the numbers on every node."""

    def __init__(self, connection: Connection, services: Services) -> None:
        self._connection = connection
        self._services = services
        self._node_ports: tuple[int, int] | None = None

    def node_port_range(self) -> tuple[int, int]:
        """The range of node ports, first and last, as the API server tells it when asked for one outside of it.

        Raises `NotConforming` when it takes such a number, or does not tell the range.
        """
        self._node_ports = self._node_ports or self._connection.cluster.node_port_range
        if self._node_ports is None:
            refusal = self._services.refusal("explicit", name="range", node_port=1)
            match = re.search(r"(\d+)-(\d+)", refusal.message)
            if match is None:
                raise NotConforming(
                    [Failure("API", "node port 1", "rejected with the range of valid ports", refusal.message)]
                )
            self._node_ports = (int(match[1]), int(match[2]))
        return self._node_ports

    @property
    def no_node_port(self) -> int:
        """A port number next to the node port range, and not of it."""
        first, last = self.node_port_range()
        return last + 1 if last < 65535 else first - 1

    @property
    def host_port(self) -> int:
        """The first of nine ports of the nodes that are the run's own: no node ports, and none that clients get.

        Raises `CannotMeasure` where the node port range leaves none.
        """
        return first_port(self._connection)

    def listeners(self, nodes: Iterable[Node]) -> list[Address]:
        """The address of each node with the port that the run's pod on its host network listens on.

        Raises `CannotMeasure` where there is no such port.
        """
        version, settled = self._connection.cluster.ip_version, self._connection.context.settled
        number = listener(self._connection)
        return [
            Address("pod", "http", node.address_of(version), number, settled, f"host network of {node.short}")
            for node in nodes
        ]
