"""What a load balancer's address serves besides HTTP to everybody, and how."""

from __future__ import annotations

from kubereach import (
    DOCS,
    EXT,
    HOST_NETWORK,
    LB_CONTROLLER,
    LOADBALANCER,
    OUTSIDE,
    SOURCE_IP,
    VIRTUAL_IPS,
    check,
)
from kubereach.expect import OWN, SELF_BALANCED, expect


@check(
    "loadbalancer.udp",
    slow=True,
    level=EXT,
    needs=(LOADBALANCER, HOST_NETWORK),
    source=DOCS + "service/#protocol-support",
)
def test_udp(balanced_datagrams, other_pods, nodes):
    """Pods and nodes reach a UDP Service by the load balancer's address.

    DNS, games and telephony need it. Controllers and clouds that balance TCP alone leave the address silent.
    """
    expect(other_pods + nodes).to_reach(balanced_datagrams.ingress(), backends=balanced_datagrams.endpoints)


@check(
    "loadbalancer.udp-outside",
    slow=True,
    level=EXT,
    needs=(LOADBALANCER, LB_CONTROLLER, OUTSIDE),
    source=DOCS + "service/#protocol-support",
)
def test_udp_outside(balanced_datagrams, outside):
    """A UDP Service is reached from outside by the load balancer's address.

    Its replies must come from that address, or clients drop them.
    """
    expect(outside).to_reach(balanced_datagrams.ingress(), backends=balanced_datagrams.endpoints)


@check(
    "loadbalancer.affinity",
    slow=True,
    level=EXT,
    needs=LOADBALANCER,
    source=VIRTUAL_IPS + "#session-affinity",
)
def test_affinity(world, spare, other_pods):
    """With sessionAffinity ClientIP one client gets to one endpoint by the load balancer's address too.

    Where the service proxy does not take the address up, it is the load balancer that has to honour it.
    """
    spec = {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}
    with world.create(
        "over-spares", name="balanced-sticky", selector=spare.selector, tcp=True, spec=spec
    ) as it:
        expect(other_pods).to_stick(it.ingress())


@check(
    "loadbalancer.ip-mode",
    slow=True,
    level=EXT,
    needs=HOST_NETWORK,
    source=DOCS + "service/#load-balancer-ip-mode",
)
def test_ip_mode(world, clusterip, other_pods, nodes):
    """An address of ipMode VIP is served inside the cluster, one of ipMode Proxy is left to the load balancer.

    With Proxy the load balancer has to see every packet: it ends TLS or writes the PROXY header, and what is short-cut
    arrives without.
    """
    with world.create("over-backend", name="by-mode", spec=SELF_BALANCED) as service:
        expect(other_pods + nodes).to_reach(service.take_address("VIP"), backends=service.endpoints)
        expect(other_pods + nodes).not_to_be_answered(service.take_address("Proxy"), control=clusterip)


@check(
    "loadbalancer.external-local",
    slow=True,
    level=EXT,
    needs=(LOADBALANCER, LB_CONTROLLER, OUTSIDE),
    source=SOURCE_IP + "#source-ip-for-services-with-type-loadbalancer",
)
def test_external_local(world, spare, outside):
    """With externalTrafficPolicy Local the client's address is kept, and only nodes with endpoints are used.

    The load balancer learns from health checks which nodes those are. One that sends elsewhere loses these connections:
    look at its health checks, and at the firewall in front of them (kubernetes #114058, cilium #45252).
    """
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
    with world.create("over-spares", name="balanced-local", tcp=True, spec=spec) as service:
        service.take_in(min(spare.endpoints))
        address = service.ingress()
        expect(outside).to_reach(
            address,
            backends=service.endpoints,
            source=OWN,
            within=world.context.settings.load_balancer_deadline,
        )


@check(
    "loadbalancer.health-check-node-port",
    slow=True,
    level=EXT,
    source=SOURCE_IP + "#source-ip-for-services-with-type-loadbalancer",
)
def test_health_check_node_port(world, spare, other_pods, cluster):
    """healthCheckNodePort answers 200 on nodes with ready endpoints and 503 on the others, and follows their changes.

    It is how load balancers learn where to send. A node that says 200 without an endpoint gets traffic that it drops;
    one that says 503 in spite of one gets none.
    """
    spec = {**SELF_BALANCED, "externalTrafficPolicy": "Local"}
    first, second, *_ = sorted(spare.endpoints)
    with world.create("over-spares", name="health-checked", spec=spec) as service:
        expect(other_pods).to_get_health_checks(service, nodes=cluster.nodes)
        service.take_in(first)
        expect(other_pods).to_get_health_checks(service, nodes=cluster.nodes)
        service.take_in(second)
        service.take_out(first)
        expect(other_pods).to_get_health_checks(service, nodes=cluster.nodes)
