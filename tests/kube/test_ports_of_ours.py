"""Port numbers that a run chooses come from what the cluster has."""

from __future__ import annotations

import errno
import socket
from types import SimpleNamespace

import pytest

from kubereach.kube import detection
from kubereach.kube.client import ApiError
from kubereach.kube.ranges import free_ports, node_ports
from kubereach.model.check import OUTSIDE
from kubereach.model.errors import CannotMeasure
from kubereach.model.settings import Settings


class FakeApi:
    def __init__(self, message):
        self.message = message

    def create(self, obj, dry_run):
        assert dry_run and obj["spec"]["ports"][0]["nodePort"] == 1
        raise ApiError(422, "Invalid", self.message, "")


def test_the_range_is_what_the_api_server_says():
    words = "provided port is not in the valid range. The range of valid ports is 20000-22767"
    assert node_ports(FakeApi(f"spec.ports[0].nodePort: Invalid value: 1: {words}"), "a") == (
        20000,
        22767,
    )
    assert node_ports(FakeApi("services is forbidden"), "a") is None


@pytest.mark.parametrize("node_ports", [None, (30000, 32767), (20000, 32767), (1024, 25000), (10000, 32767)])
def test_ports_of_pods_on_the_host_network_are_no_node_ports(node_ports):
    first, last = node_ports or (30000, 32767)
    for number in range(2000):
        port = free_ports(node_ports, number)
        assert not any(first <= one <= last for one in range(port, port + 10))
        assert not any(32768 <= one <= 60999 for one in range(port, port + 10)) and port + 9 <= 65535
    assert free_ports(node_ports, 1) != free_ports(node_ports, 2)


def test_a_range_that_leaves_no_port_cannot_be_measured():
    with pytest.raises(CannotMeasure, match="the node port range 1-65535 leaves no ports"):
        free_ports((1, 65535), 7)


def test_the_outside_is_looked_for_where_node_ports_are(monkeypatch):
    """Behind a firewall that opens the node port range alone, wherever that is."""

    class Socket(socket.socket):
        def connect_ex(self, address):
            return errno.ECONNREFUSED if 20000 <= address[1] <= 22767 else errno.EHOSTUNREACH

    monkeypatch.setattr("kubereach.kube.reachability.socket.socket", Socket)
    node = SimpleNamespace(name="one", address="192.0.2.7", addresses=("192.0.2.7",))
    cluster = SimpleNamespace(nodes=[node], findings={}, node_port_range=(20000, 22767))
    found = detection.detect(cluster, Settings())[OUTSIDE]
    assert (found.present, found.evidence) == (True, "every node replies: 192.0.2.7 refuses on 20000")
    cluster.node_port_range = None
    assert not detection.detect(cluster, Settings())[OUTSIDE].present
