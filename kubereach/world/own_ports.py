"""The ten ports of the nodes that are a run's own: no node ports, and none that clients get."""

from __future__ import annotations

from kubereach.kube.ranges import free_ports
from kubereach.model.errors import CannotMeasure
from kubereach.world.connection import Connection

#: which of them the pods that are the node vantages have
_LISTENER = 9


def first_port(connection: Connection) -> int:
    """The first of them; the last one is `listener`'s. Raises `CannotMeasure` where the node port range leaves none."""
    return free_ports(connection.cluster.node_port_range, int.from_bytes(connection.run.encode(), "big"))


def listener(connection: Connection) -> int:
    """The port that the node vantages' pods listen on. Raises `CannotMeasure` like `first_port`."""
    return first_port(connection) + _LISTENER


def listener_if_any(connection: Connection) -> int:
    """The same; 0, any port, where there is none."""
    try:
        return listener(connection)
    except CannotMeasure:
        return 0
