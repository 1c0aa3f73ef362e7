"""Pods come and go: what a Service makes of it."""

from __future__ import annotations

from kubereach import CORE, DOCS, HOST_NETWORK, POD_LIFECYCLE, check
from kubereach.expect import expect, verify


@check("endpoints.ready-only", slow=True, level=CORE, source=POD_LIFECYCLE + "#types-of-probe")
def test_ready_only(world, other_pods):
    """A pod is served only while it is ready: turning unready takes it out, turning ready brings it back.

    It is how a pod says that it is busy, or not up yet. Traffic that comes all the same is lost; a pod that is not
    brought back is capacity that nobody has. How long either takes is reported.
    """
    with world.create("own-pods", name="readiness", replicas=2, failures=1) as service:
        both = service.endpoints
        busy = min(both)
        expect(other_pods).to_reach(service, backends=both, every=True)

        service.set_ready(False, busy)
        expect(other_pods).to_reach(service, backends=both - {busy})

        service.set_ready(True, busy)
        expect(other_pods).to_reach(service, backends=both, every=True)


@check("endpoints.scale", slow=True, level=CORE, source=DOCS + "service/#endpointslices")
def test_scale(world, spare, other_pods):
    """A Service follows its pods up, down, to none at all and back.

    Autoscalers do this all day. New pods without traffic make scaling useless, and addresses of pods that have gone
    lose a share of all requests.
    """
    with world.create("own-pods", name="scaling", replicas=1) as service:
        for replicas in (3, 1):
            service.workload.scale(replicas)
            expect(other_pods).to_reach(service, backends=service.endpoints, every=True)

        service.workload.scale(0)
        expect(other_pods).not_to_be_answered(service, control=spare)

        service.workload.scale(1)
        expect(other_pods).to_reach(service, backends=service.endpoints, every=True)


@check("endpoints.replaced-pod", slow=True, level=CORE, source=DOCS + "service/#endpointslices")
def test_replaced_pod(world, other_pods):
    """The address of a deleted pod is never served again, its replacement is, and the cluster IP stays.

    The address may belong to another pod, of anybody, a moment later. Requests that still go there time out, or get
    the wrong answer.
    """
    with world.create("own-pods", name="replacing", replicas=2) as service:
        address, first = service.cluster_ip, min(service.endpoints)
        expect(other_pods).to_reach(service, backends=service.endpoints, every=True)

        serving = service.workload.replace(first)

        expect(other_pods).to_reach(service, backends=serving, every=True)
        verify(service.cluster_ip == address, f"{address} became {service.cluster_ip}")


@check("endpoints.rolling-update", slow=True, level=CORE, source=POD_LIFECYCLE + "#pod-termination-flow")
def test_rolling_update(world, other_pods):
    """A rolling update under load loses no request, if pods wait a little before they end.

    The wait (a preStop hook) is there for the service proxies to take notice. A request that is lost all the same
    means that a new pod got traffic before it was ready, or that an old one still gets it when it has gone
    (kubernetes #55667, #86280). Every lost connection counts.
    """
    # how long a little is depends on how long changes take here
    with world.create("over-backend", name="before-rolling") as service:
        expect(other_pods).to_reach(service, backends=service.endpoints)
    drain = world.drain
    with world.create("own-pods", name="rolling", replicas=2, pre_stop=drain) as service:
        expect(other_pods).to_reach(service, backends=service.endpoints, every=True)

        # the old pods are not forgotten when they have gone, but when nobody sends anything to them any more
        with expect(other_pods).to_keep_reaching(service, drain=drain):
            service.workload.roll_out()
            expect(other_pods).to_reach(service, backends=service.endpoints, every=True)


@check(
    "endpoints.terminating",
    slow=True,
    level=CORE,
    source="https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/1669-proxy-terminating-endpoints",
)
def test_terminating(world, spare, other_pods):
    """When all endpoints are terminating, traffic falls back to those that still serve.

    Otherwise a Service whose last pods are being replaced refuses connections, though its pods still take them: with
    externalTrafficPolicy Local that is every rolling update of a node's only pod.
    """
    # they are killed as soon as it is measured, but must not be gone before: that takes a busy machine most of a minute
    with world.create("own-pods", name="ending", replicas=2, linger=90) as service:
        expect(other_pods).to_reach(service, backends=service.endpoints, every=True)

        ending = service.workload.end_all()
        try:
            # a Service that is younger than their end: where it is programmed, so is what came before
            with world.create("over-backend", name="after-the-end") as younger:
                expect(other_pods).to_reach(younger, backends=younger.endpoints)
            expect(other_pods).to_reach(service, backends=ending, every=True)
        finally:
            service.workload.kill()
        expect(other_pods).not_to_be_answered(service, control=spare)


@check("endpoints.host-network", slow=True, level=CORE, needs=HOST_NETWORK, source=DOCS + "service/")
def test_host_network(world, other_pods, nodes):
    """Pods on their node's own network are served as any others.

    Ingress controllers and storage daemons run so. Their address is a node's, which some data planes take for something
    that is outside of the cluster.
    """
    with world.create("own-pods", name="on-node", replicas=1, host_network=world.ports.host_port) as service:
        # not UDP: what answers from all of a node's addresses may answer from another one than was asked
        expect(other_pods).to_reach([service.vip("http"), service.vip("line")], backends=service.endpoints)
        expect(nodes).to_reach(service, backends=service.endpoints)
