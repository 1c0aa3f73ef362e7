"""Session affinity: which clients go to the same endpoint again."""

from __future__ import annotations

from kubereach import CORE, VIRTUAL_IPS, check
from kubereach.expect import expect, tries, verify


@check("affinity.sticks", slow=True, level=CORE, source=VIRTUAL_IPS + "#session-affinity")
def test_sticks(world, spare, other_pods, cluster):
    """With sessionAffinity ClientIP one client gets to one endpoint, over 50 requests, by cluster IP and node port.

    Applications that keep sessions in memory depend on it. A service proxy that ignores it looks fine to everybody who
    sends one request at a time (cilium #35254).
    """
    spec = {"type": "NodePort", "sessionAffinity": "ClientIP"}
    with world.create("over-spares", name="sticky", selector=spare.selector, spec=spec) as service:
        expect(other_pods).to_stick([service, *service.on_each(cluster.nodes)])


@check("affinity.many-clients", slow=True, level=CORE, source=VIRTUAL_IPS + "#session-affinity")
def test_many_clients(world, spare, other_pods):
    """Different clients are spread over the endpoints, also those of one node.

    Affinity is by the client's address. Where all clients of a node, or all there are, go to one endpoint, the others
    idle: look for masquerading in front of the service proxy.
    """
    count, spec = tries(endpoints=4, clients=1, nodes=len(other_pods)), {"sessionAffinity": "ClientIP"}
    with world.create_group(
        "over-spares", count, name="crowd", selector=spare.selector, spec=spec
    ) as services:
        clients = other_pods + spare.own_pods()
        kept = expect(clients).to_stick(services, count=2)
        expect(clients).to_spread_clients(kept, endpoints=4)


@check("affinity.expires", slow=True, level=CORE, source=VIRTUAL_IPS + "#session-affinity")
def test_expires(world, spare, other_pods):
    """After timeoutSeconds without a connection a client may go elsewhere; before that it may not.

    Every connection begins the time anew. An affinity that never ends keeps clients from new endpoints; one that
    ends too soon loses sessions (kubernetes #35677, kube-router #910). IPVS adds two minutes (kubernetes #89358).
    """
    spec = {
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 2}},
    }
    count = tries(endpoints=4, clients=len(other_pods))
    with world.create_group(
        "over-spares", count, name="brief", selector=spare.selector, spec=spec
    ) as services:
        kept = expect(other_pods).to_stick(services, count=4, pause=0.9)
        expect(other_pods).to_leave_endpoint(services, after=3, kept=kept, endpoints=4)


@check("affinity.default-timeout", level=CORE, source=VIRTUAL_IPS + "#session-affinity")
def test_default_timeout(world):
    """Without a timeoutSeconds it is 10800: three hours.

    Applications are written for it, without their owners knowing.
    """
    with world.create("over-spares", name="default-timeout", spec={"sessionAffinity": "ClientIP"}) as service:
        verify(service.spec.affinity_timeout == 10800, f"it is {service.spec.affinity_timeout}")
