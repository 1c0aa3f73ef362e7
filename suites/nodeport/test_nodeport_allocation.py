"""How node ports are given, asked for and given up."""

from __future__ import annotations

from kubereach import CORE, DOCS, check
from kubereach.expect import expect, verify


@check("nodeport.allocated", level=CORE, source=DOCS + "service/#type-nodeport")
def test_allocated(world, nodeport):
    """Each port of a NodePort Service gets a free port of the node port range, a different one each.

    Firewalls are opened for the range: a port outside of it is one that nobody can reach.
    """
    first, last = world.ports.node_port_range()
    given = nodeport.spec.node_ports
    verify(len(given) == len(set(given)) == 2, f"node ports {given} for two ports")
    verify(all(first <= number <= last for number in given), f"{given} is not within {first}-{last}")


@check("nodeport.explicit", level=CORE, source=DOCS + "service/#nodeport-custom-port")
def test_explicit(world, other_pods, cluster):
    """A node port asked for by number is given; one that is taken or out of range is refused with a clear reason.

    And it is free again once its Service is gone. Without that, a Service cannot be recreated behind the firewall rules
    and load balancers that know it by its number.
    """
    with world.services.create_with_a_used_node_port("explicit") as (number, again):
        verify(again.node_port() == number, f"asked for {number}, got {again.node_port()}")
        expect(other_pods).to_reach(again.on_each(cluster.nodes), backends=again.endpoints)
        taken = world.services.refusal("explicit", name="taken", node_port=number)
        verify("already allocated" in taken.message, f"unclear reason: {taken.message}")
    beyond = world.services.refusal("explicit", name="beyond", node_port=world.ports.no_node_port)
    verify("valid ports" in beyond.message, f"unclear reason: {beyond.message}")


@check("nodeport.closed-after", level=CORE, source=DOCS + "service/#type-nodeport")
def test_closed_after(world, nodeport, other_pods, cluster):
    """A node port is closed on every node after its Service is deleted or turned into a ClusterIP Service.

    A port that stays open serves pods that their owner believes to be unreachable, until it is given to somebody else.
    """
    for deleted in (False, True):
        with world.create("closing") as service:
            ports = service.on_each(cluster.nodes)
            expect(other_pods).to_reach(ports, backends=service.endpoints)
            if deleted:
                service.delete()
            else:
                service.become("ClusterIP")
            expect(other_pods).not_to_be_answered(
                service.formerly(ports), control=nodeport.on_each(cluster.nodes)
            )
