"""What a Service of type LoadBalancer asks for: an address, a class, no node ports, certain clients."""

from __future__ import annotations

from kubereach import DOCS, EXT, HOST_NETWORK, LB_CONTROLLER, LOADBALANCER, OUTSIDE, check
from kubereach.expect import (
    FOREIGN_CLASS,
    asking_for,
    expect,
    free_address,
    must_have,
    must_stay_silent,
    only_for,
    verify,
)


@check(
    "loadbalancer.no-node-ports",
    slow=True,
    level=EXT,
    needs=LOADBALANCER,
    source=DOCS + "service/#load-balancer-nodeport-allocation",
)
def test_no_node_ports(world, other_pods):
    """With allocateLoadBalancerNodePorts false the address works, and the Service has no node port.

    Node ports are few, and every one is a way around the load balancer.
    """
    spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
    with world.create("over-backend", name="portless", tcp=True, spec=spec) as service:
        verify(not service.spec.node_ports, f"it has node ports {service.spec.node_ports}")
        expect(other_pods).to_reach(service.ingress(), backends=service.endpoints)


@check(
    "loadbalancer.requested-address",
    slow=True,
    level=EXT,
    needs=(LOADBALANCER, LB_CONTROLLER),
    source=DOCS + "service/#loadbalancer",
)
def test_requested_address(world, other_pods):
    """An address that the Service asks for, by loadBalancerIP or by the provider's annotation, is the one that it gets.

    Names in public DNS and firewalls of partners are made for it. Controllers may ignore loadBalancerIP, which is told;
    what `--lb-provider` declares for it they have to honour.
    """
    with (
        free_address(world) as free,
        world.create("over-backend", name="asking", tcp=True, **asking_for(world, free)) as service,
    ):
        must_have(service, free)
        expect(other_pods).to_reach(service.ingress(), backends=service.endpoints)


@check(
    "loadbalancer.class",
    slow=True,
    level=EXT,
    needs=(LOADBALANCER, LB_CONTROLLER),
    source=DOCS + "service/#load-balancer-class",
)
def test_class(world):
    """A Service of a foreign loadBalancerClass is left alone.

    Two controllers that serve one Service overwrite each other's address. The one that is for the default must not
    touch what names a class.
    """
    with (
        world.create("over-backend", name="foreign", tcp=True, spec=FOREIGN_CLASS) as foreign,
        world.create("over-backend", name="default", tcp=True, spec={"type": "LoadBalancer"}) as default,
    ):
        # made later, served first: by then the other one would have been
        verify(default.load_balancer.address(), "the Service of the default class has no address")
        foreign.load_balancer.must_be_left_alone()


@check(
    "loadbalancer.source-ranges",
    slow=True,
    level=EXT,
    needs=(LOADBALANCER, HOST_NETWORK),
    source="https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/",
)
def test_source_ranges(world, loadbalancer, other_pods, nodes, cluster):
    """loadBalancerSourceRanges let the allowed clients in and keep others out, pods and nodes too; changes take effect.

    The address is the same one that is open to the world, so that a pod or a node is no exception. What
    becomes of the cluster IP and of node ports is reported (cilium #34903, kubernetes #109575).
    """
    with world.create("over-backend", name="guarded", tcp=True, spec=only_for(other_pods)) as service:
        address = service.ingress()
        expect(other_pods).to_reach(address, backends=service.endpoints)
        expect(nodes).not_to_be_answered(address, control=loadbalancer.ingress())

        expect(nodes).to_report(service.addresses.beside_the_load_balancer(cluster.nodes))

        service.allow_only(nodes)
        address = service.ingress()
        expect(nodes).to_reach(address, backends=service.endpoints)
        expect(other_pods).not_to_be_answered(address, control=loadbalancer.ingress())


@check(
    "loadbalancer.source-ranges-outside",
    slow=True,
    level=EXT,
    needs=(LOADBALANCER, LB_CONTROLLER, OUTSIDE),
    source="https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/",
)
def test_source_ranges_outside(world, outside):
    """loadBalancerSourceRanges keep clients from outside out, and let everybody in once they say so.

    It is the firewall of many a platform's own consoles. Ranges that are ignored open them to everybody.
    """
    with world.create("over-backend", name="closed", tcp=True, spec=only_for()) as service:
        # the address is there before anybody serves it
        must_stay_silent(
            world,
            outside,
            service.ingress(),
            than=service.name,
            reached=lambda younger: younger.ingress(),
            type="LoadBalancer",
        )
        service.allow_everybody()
        expect(outside).to_reach(service.ingress(), backends=service.endpoints)
