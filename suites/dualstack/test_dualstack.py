"""Services of both IP families."""

from __future__ import annotations

from kubereach import DOCS, DUAL_STACK, EXT, HOST_NETWORK, LOADBALANCER, OUTSIDE_DUAL, check
from kubereach.expect import Query, expect

BOTH = {"ipFamilyPolicy": "RequireDualStack"}


@check("dualstack.addresses", slow=True, level=EXT, needs=DUAL_STACK, source=DOCS + "dual-stack/#services")
def test_addresses(world, cluster):
    """A Service has the cluster IPs that ipFamilyPolicy and ipFamilies ask for, in their order.

    The first family is the one of `clusterIP`, and cannot be changed later. A Service that says nothing has the
    cluster's first family alone.
    """
    first, second = cluster.capabilities.families

    def asking(name, **spec):
        return world.create("over-backend", name=name, spec=spec)

    with asking("plain") as service:
        service.spec.must_have_families(first)
        service.patch({"spec": {"ipFamilyPolicy": "PreferDualStack"}})
        service.spec.must_have_families(first, second)
    with asking("single", ipFamilyPolicy="SingleStack", ipFamilies=[second]) as service:
        service.spec.must_have_families(second)
    with asking("reversed", ipFamilies=[second, first], **BOTH) as service:
        service.spec.must_have_families(second, first)
        service.patch({"spec": {"ipFamilyPolicy": "SingleStack"}})
        service.spec.must_have_families(second)
    with asking("preferring", ipFamilyPolicy="PreferDualStack") as service:
        service.spec.must_have_families(first, second)


@check("dualstack.reach", slow=True, level=EXT, needs=(DUAL_STACK, HOST_NETWORK), source=DOCS + "dual-stack/")
def test_reach(world, other_pods, nodes, cluster):
    """The second family's cluster IP, name and pod addresses work like the first's, from pods and nodes, on every port.

    A cluster that has an address of the family but not the rules, routes or records for it makes half of all clients
    wait before they fall back to the other one.
    """
    with world.create("over-backend", name="two-families", spec=BOTH) as service:
        second = service.second
        ports = [second.vip(port) for port in ("http", "line", "datagram")]
        expect(other_pods + nodes).to_reach([service.vip(), *ports], backends=service.endpoints)
        expect(other_pods).to_get_records(
            Query(second.rdtype, service.fqdn), second.cluster_ips, by=cluster, settled=service.settled
        )
        expect(other_pods + nodes).to_resolve(service.fqdn, second.cluster_ips, settled=service.settled)
        expect(other_pods).to_reach(second.by_name(service.fqdn), backends=service.endpoints, every=True)
    web = {"name": "http", "port": 8080, "targetPort": "http"}
    spec = {"clusterIP": "None", **BOTH}
    with world.create("with-ports", name="headless-two-families", ports=[web], spec=spec) as service:
        second = service.second
        expect(other_pods).to_get_records(
            Query(second.rdtype, service.fqdn), second.pod_ips, by=cluster, settled=service.settled
        )
        expect(other_pods).to_resolve(service.fqdn, second.pod_ips, settled=service.settled)
        expect(other_pods + nodes).to_reach(second.by_name(service.fqdn), backends=service.endpoints)


@check(
    "dualstack.node-port",
    slow=True,
    level=EXT,
    needs=(DUAL_STACK, HOST_NETWORK, OUTSIDE_DUAL),
    source=DOCS + "dual-stack/",
)
def test_node_port(world, other_pods, nodes, outside, cluster):
    """A node port answers on every node's addresses of both families, from pods, nodes and outside.

    Nodes often have a second address that kube-proxy does not serve (its nodePortAddresses), or that a firewall guards.
    """
    with world.create("over-backend", name="two-family-ports", spec={"type": "NodePort", **BOTH}) as service:
        everyone = other_pods + nodes + outside
        expect(everyone).to_reach(service.on_each(cluster.nodes), backends=service.endpoints)
        expect(everyone).to_reach(service.second.on_each(cluster.nodes), backends=service.endpoints)


@check(
    "dualstack.load-balancer",
    slow=True,
    level=EXT,
    needs=(DUAL_STACK, LOADBALANCER, HOST_NETWORK),
    source=DOCS + "dual-stack/#service-load-balancer",
)
def test_load_balancer(world, other_pods, nodes):
    """A load balancer gives an address of each family, and both answer.

    A controller that serves one family only publishes a name that works for some clients.
    """
    with world.create("over-backend", name="two-balanced", spec={"type": "LoadBalancer", **BOTH}) as service:
        addresses = [service.ingress(), service.second.ingress()]
        expect(other_pods + nodes).to_reach(addresses, backends=service.endpoints)
