"""Nothing that a run leaves in the nodes' connection tracking can reach the next one, or a later check of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from kubereach.model.errors import UsageError
from kubereach.model.events import Bus
from kubereach.model.settings import Settings
from kubereach.probe.peer.ports import LocalPorts
from kubereach.world.world import World

MANIFESTS = Path(__file__).parents[2] / "manifests"


def world(**settings):
    made = World(SimpleNamespace(disposable=True), Settings(**settings), Bus(), MANIFESTS, ())
    made._connection.cluster = SimpleNamespace(
        domain="cluster.local",
        dns=None,
        left_out=(),
        ip_version=4,
        dns_address="192.0.2.53",
        node_port_range=(30000, 32767),
    )
    return made


def ports(made, stem, **variables):
    """The numbers of the Service's ports in manifests/temporary/<stem>.yaml, as the next check would make it."""
    manifests = made.manifests.temporary(stem, **{"name": "any", **variables})
    (service,) = [manifest.obj for manifest in manifests if manifest.kind == "Service"]
    return [port["port"] for port in service["spec"]["ports"]]


def test_services_of_checks_have_ports_of_their_own():
    made = world()
    given = [
        *ports(made, "over-backend"),
        *ports(made, "over-backend", tcp=True),
        *ports(made, "released"),
        *ports(made, "closing"),
        *ports(made, "explicit", node_port=None),
        *ports(made, "own-pods", replicas=1, sctp=True),
        *ports(made, "by-hand", slices=[["192.0.2.1"]]),
    ]
    assert len(given) == len(set(given)) == 15
    assert all(11000 <= number <= 19999 for number in given)


def test_two_runs_seldom_begin_with_the_same_ports():
    assert len({ports(world(), "released")[0] for _ in range(20)}) > 10


def test_the_range_of_ports_can_be_chosen():
    made = world(service_ports="443-542")
    given = {number for _ in range(60) for number in ports(made, "over-backend")}
    assert given <= set(range(443, 543))


@pytest.mark.parametrize("text", ["443", "443-500", "0-4000", "60000-70000", "http-https", "500-400", ""])
def test_a_malformed_range_of_ports_is_wrong_usage(text):
    with pytest.raises(UsageError, match="service_ports"):
        world(service_ports=text)


def test_source_ports_begin_anywhere():
    """In a container every prober has the same process id."""
    assert len({LocalPorts().port for _ in range(20)}) > 15


class Bound:
    """A socket of which nobody else has the port."""

    def bind(self, address):
        pass


def test_source_ports_come_once_before_any_comes_again():
    ports = LocalPorts()
    given = [ports.bind(Bound()) for _ in range(ports.count)]
    assert len(set(given)) == ports.count
    assert min(given) == ports.first


@pytest.mark.parametrize("length", [12, 135])
def test_a_series_has_source_ports_of_every_part_of_the_range(length):
    """Whichever quarter of the range is lost, a series has its share of it."""
    ports = LocalPorts()
    given = [ports.bind(Bound()) for _ in range(length)]
    quarters = [4 * (port - ports.first) // ports.count for port in given]
    assert all(abs(quarters.count(quarter) - length / 4) <= 3 for quarter in range(4)), quarters


@pytest.mark.parametrize(
    ("slowest", "seconds"),
    [(0.0, 3), (1.0, 3), (5.9, 18), (40.0, 30)],
    ids=["new", "fast", "slow", "too slow"],
)
def test_pods_wait_for_as_long_as_the_slowest_change_took(slowest, seconds):
    made = world()
    made.context.followed = slowest
    assert made.drain == seconds
