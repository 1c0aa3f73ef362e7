"""Services of type LoadBalancer, where the cluster has somebody who serves them."""

from __future__ import annotations

from kubereach import DOCS, EXT, HOST_NETWORK, LB_CONTROLLER, LOADBALANCER, OUTSIDE, check
from kubereach.expect import expect, verify


@check(
    "loadbalancer.assigned",
    level=EXT,
    needs=(LOADBALANCER, LB_CONTROLLER),
    source=DOCS + "service/#loadbalancer",
)
def test_assigned(loadbalancer):
    """A Service of type LoadBalancer gets an address within the deadline.

    One that stays pending has no controller, or one whose pool is empty: its events and the controllers that were found
    say which.
    """
    verify(loadbalancer.load_balancer.address(), "it has no address")


@check(
    "loadbalancer.from-outside",
    level=EXT,
    needs=(LOADBALANCER, LB_CONTROLLER, OUTSIDE),
    source=DOCS + "service/#loadbalancer",
)
def test_from_outside(loadbalancer, outside):
    """The load balancer's address and port answer from outside, and every endpoint is served.

    Silence means that nobody announces the address, or that it is announced by a node that does not serve it.
    """
    expect(outside).to_reach(loadbalancer.ingress(), backends=loadbalancer.endpoints, every=True)


@check("loadbalancer.from-pods", level=EXT, needs=LOADBALANCER, source=DOCS + "service/#loadbalancer")
def test_from_pods(loadbalancer, pods):
    """Pods reach the load balancer's address.

    They use the public name as everybody does. The service proxy short-cuts it inside the cluster; where it does not,
    the packet must find its way out and back in.
    """
    expect(pods).to_reach(loadbalancer.ingress(), backends=loadbalancer.endpoints)


@check(
    "loadbalancer.from-nodes",
    level=EXT,
    needs=(LOADBALANCER, HOST_NETWORK),
    source=DOCS + "service/#loadbalancer",
)
def test_from_nodes(loadbalancer, nodes):
    """Every node reaches the load balancer's address.

    Image pulls from a registry behind it are the usual case.
    """
    expect(nodes).to_reach(loadbalancer.ingress(), backends=loadbalancer.endpoints)


@check(
    "loadbalancer.includes-node-port",
    level=EXT,
    needs=LOADBALANCER,
    source=DOCS + "service/#loadbalancer",
)
def test_includes_node_port(loadbalancer, pods, cluster):
    """A LoadBalancer Service's node port on every node, its cluster IP and its DNS name work too.

    Most load balancers outside the cluster forward to the node ports.
    """
    expect(pods).to_reach(loadbalancer.on_each(cluster.nodes), backends=loadbalancer.endpoints)
    expect(pods).to_reach(loadbalancer, backends=loadbalancer.endpoints)
    expect(pods).to_resolve(loadbalancer.fqdn, loadbalancer.cluster_ips)
    expect(pods).to_reach(loadbalancer.by_name(loadbalancer.fqdn), backends=loadbalancer.endpoints)


@check(
    "loadbalancer.released",
    level=EXT,
    slow=True,
    needs=(LOADBALANCER, LB_CONTROLLER, OUTSIDE),
    source="https://kubernetes.io/docs/tasks/access-application-cluster/create-external-load-balancer/#garbage-collecting-load-balancers",
)
def test_released(world, loadbalancer, outside):
    """After its Service is deleted the address no longer answers, and the Service is really gone.

    A finalizer holds the Service until the address is given back. One that never goes blocks the namespace; an address
    that goes on answering serves pods that their owner believes to be unreachable.
    """
    with world.create("released") as service:
        address = service.ingress()
        expect(outside).to_reach(address, backends=service.endpoints)
        service.delete()
        expect(outside).not_to_be_answered(service.formerly([address]), control=loadbalancer.ingress())


@check(
    "loadbalancer.given-up",
    level=EXT,
    slow=True,
    needs=(LOADBALANCER, LB_CONTROLLER, OUTSIDE),
    source=DOCS + "service/#publishing-services-service-types",
)
def test_given_up(world, loadbalancer, outside):
    """A Service that becomes ClusterIP gives its load balancer's address up, which then no longer answers.

    The Service lives on, and its pods answer inside the cluster. An address that still leads to them serves what its
    owner believes to be closed.
    """
    with world.create("released", name="given-up") as service:
        address = service.ingress()
        expect(outside).to_reach(address, backends=service.endpoints)
        service.become("ClusterIP")
        expect(outside).not_to_be_answered(service.formerly([address]), control=loadbalancer.ingress())
