"""What becomes of connections that are open, and of UDP flows, when endpoints come and go."""

from __future__ import annotations

from kubereach import CORE, DOCS, INFO, check
from kubereach.expect import expect


@check("endpoints.live-connections", slow=True, level=CORE, source=DOCS + "service/")
def test_live_connections(world, spare, other_pods):
    """An open TCP connection outlives its endpoint's unreadiness, removal from the Service and the Service's deletion.

    As long as the pod lives, that is: rolling updates and maintenance rely on connections that may finish. A service
    proxy that cuts them turns every change of a Service into errors of its clients.
    """
    with world.create("own-pods", name="live", replicas=1, failures=1) as service:
        (pod,) = service.endpoints
        line = service.vip("line")
        expect(other_pods).to_reach(line, backends={pod})
        with expect(other_pods).flow(line) as flow:
            service.set_ready(False, pod)
            expect(other_pods).not_to_be_answered(service.formerly([line]), control=spare)
            service.set_ready(True, pod)
            expect(other_pods).to_reach(service.vip("line"), backends={pod})
            service.take_out(pod)
            expect(other_pods).not_to_be_answered(service.formerly([line]), control=spare)
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


@check(
    "endpoints.udp-after-scale-to-zero",
    slow=True,
    level=INFO,
    source="https://github.com/kubernetes/kubernetes/issues/139628",
)
def test_udp_after_scale_to_zero(world, spare, other_pods):
    """A UDP flow follows its Service to no endpoints and back, and ends when the Service is deleted.

    While there is nothing to send it to, and when its Service has gone, a flow must not go on to the old pod. In
    Kubernetes itself it does, in the versions that the report names: senders of metrics went on to a pod that was
    gone for 13 hours. While nothing is sent back, every packet renews the flow.
    """
    first, second, *_ = sorted(spare.endpoints)
    with world.create("over-spares", name="emptied") as service:
        service.take_in(first)
        datagram = service.vip("datagram")
        expect(other_pods).to_reach(datagram, backends={first})
        with expect(other_pods).flow(datagram) as flow:
            service.take_out(first)
            expect(other_pods).not_to_be_answered(service.formerly([datagram]), control=spare)
            service.take_in(second)
            flow.must_move({second})
        with expect(other_pods).flow(datagram) as flow:
            service.take_out(second)
            expect(other_pods).not_to_be_answered(service.formerly([datagram]), control=spare)
            flow.must_have_ended()
    with world.create("over-spares", name="forgotten") as service:
        service.take_in(first)
        datagram = service.vip("datagram")
        expect(other_pods).to_reach(datagram, backends={first})
        with expect(other_pods).flow(datagram) as flow:
            service.delete()
            expect(other_pods).not_to_be_answered(service.formerly([datagram]), control=spare)
            flow.must_have_ended()
