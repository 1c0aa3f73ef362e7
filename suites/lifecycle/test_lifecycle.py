"""The life of a Service: made, changed, deleted, made again."""

from __future__ import annotations

from kubereach import CORE, DOCS, HOST_NETWORK, INFO, OUTSIDE, check
from kubereach.expect import expect, within_budget


@check(
    "lifecycle.type-changes",
    slow=True,
    level=CORE,
    source=DOCS + "service/#publishing-services-service-types",
)
def test_type_changes(world, clusterip, other_pods, cluster):
    """A Service works after each change of its type, and what a type gives up stops.

    ClusterIP, NodePort, LoadBalancer, ClusterIP, ExternalName, ClusterIP. A node port or a cluster IP that goes on to
    answer serves pods that their owner believes to be unreachable. The address that a load balancer gives, if there is
    one, is for loadbalancer.given-up.
    """
    with world.create("over-backend", name="chameleon") as service:
        backends = service.endpoints
        expect(other_pods).to_reach(service, backends=backends)

        service.become("NodePort")
        expect(other_pods).to_reach([service.vip(), *service.on_each(cluster.nodes)], backends=backends)

        service.become("LoadBalancer")
        given_up = service.on_each(cluster.nodes)
        expect(other_pods).to_reach([service.vip(), *given_up], backends=backends)

        service.become("ClusterIP")
        expect(other_pods).not_to_be_answered(service.formerly(given_up), control=clusterip)

        address = service.vip()
        service.become("ExternalName", clusterip.fqdn.rstrip("."))
        expect(other_pods).to_resolve(service.fqdn, clusterip.cluster_ips, settled=service.settled)
        expect(other_pods).not_to_be_answered(service.formerly([address]), control=clusterip)

        service.become("ClusterIP")
        expect(other_pods).to_reach(service, backends=backends)


@check("lifecycle.recreated", slow=True, level=CORE, source=DOCS + "service/")
def test_recreated(world, clusterip, other_pods):
    """A Service that is deleted stops, and works again when it is created anew over the same pods.

    Every tool that replaces objects does this. Whoever keeps the old one's address or state under its name serves
    nothing, or the wrong thing.
    """
    with world.create("over-backend", name="phoenix") as service:
        expect(other_pods).to_reach(service, backends=service.endpoints)
        address = service.vip()
        service.delete()
        expect(other_pods).not_to_be_answered(service.formerly([address]), control=clusterip)
    with world.create("over-backend", name="phoenix") as service:
        ports = [service.vip(port) for port in ("http", "line", "datagram")]
        expect(other_pods).to_reach(ports, backends=service.endpoints)
        expect(other_pods).to_resolve(service.fqdn, service.cluster_ips, settled=service.settled)


@check(
    "lifecycle.convergence",
    slow=True,
    level=INFO,
    needs=(HOST_NETWORK, OUTSIDE),
    source="https://github.com/kubernetes/community/blob/master/sig-scalability/slos/network_programming_latency.md",
)
def test_convergence(world, spare, nodeport, other_pods, nodes, outside, cluster):
    """Every vantage sees a Service and its endpoints created, changed and deleted within the budget.

    The times are in the report: p50, p99 and the longest for each kind of change. The budget is the setting
    convergence_budget, and none by default: what is bearable is for you to say.
    """
    first, second, *_ = sorted(spare.endpoints)
    with within_budget(world):
        with world.create("over-spares", name="measured") as service:
            for pod, other in ((first, second), (second, first)):
                service.take_in(pod)
                service.take_out(other)
                expect(other_pods + nodes).to_reach(service, backends={pod})
            address = service.vip()
            service.delete()
            expect(other_pods + nodes).not_to_be_answered(service.formerly([address]), control=spare)
        with world.create("over-backend", name="measured-outside", spec={"type": "NodePort"}) as service:
            port = service.on(cluster.nodes[0])
            expect(nodes + outside).to_reach(port, backends=service.endpoints)
            service.become("ClusterIP")
            expect(nodes + outside).not_to_be_answered(
                service.formerly([port]), control=nodeport.on(cluster.nodes[0])
            )
