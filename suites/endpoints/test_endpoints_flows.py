"""What becomes of connections that are open, and of UDP flows, when endpoints come and go."""

from __future__ import annotations

from kubereach.check import CORE, DOCS, check
from kubereach.expect import expect


@check("endpoints.live-connections", slow=True, level=CORE, source=DOCS + "service/")
def test_live_connections(world, spare, other_pods):
    """An open TCP connection outlives its endpoint's removal from the Service, unreadiness and the Service's deletion.

    As long as the pod lives, that is: rolling updates and maintenance rely on connections that may finish. A service
    proxy that cuts them turns every change of a Service into errors of its clients.
    """
    pod = min(spare.endpoints)
    with world.create("over-spares", name="live") as service:
        service.take_in(pod)
        expect(other_pods).to_reach(service.vip("line"), backends={pod})
        with expect(other_pods).flow(service.vip("line")) as flow:
            service.take_out(pod)
            expect(other_pods).not_to_be_answered(service.vip("line"), control=spare)
            service.delete()
            flow.must_stay({pod})


@check("endpoints.udp-after-replacement", slow=True, level=CORE, source=DOCS + "service/")
def test_udp_after_replacement(world, spare, other_pods):
    """A UDP client with a fixed source port reaches the endpoint that replaces its own.

    A UDP flow has no end that the kernel could see. If nobody removes its connection tracking entry, the client's
    packets go on to a pod that has gone, for as long as it sends.
    """
    first, second, *_ = sorted(spare.endpoints)
    with world.create("over-spares", name="moving") as service:
        service.take_in(first)
        expect(other_pods).to_reach(service.vip("datagram"), backends={first})
        with expect(other_pods).flow(service.vip("datagram")) as flow:
            service.take_in(second)
            service.take_out(first)
            flow.must_move({second})
