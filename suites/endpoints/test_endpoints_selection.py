"""Which addresses are a Service's endpoints: those that its selector finds, or those that somebody wrote down."""

from __future__ import annotations

from kubereach import CORE, DOCS, check
from kubereach.expect import add_note, expect, must_stay_silent, verify


@check("endpoints.selector-mismatch", slow=True, level=CORE, source=DOCS + "service/#services-in-kubernetes")
def test_selector_mismatch(world, other_pods):
    """A selector that matches no pod gives empty EndpointSlices, and the report says which labels differ.

    It is the most frequent mistake with Services: nothing is wrong but a letter. Traffic that arrives all the same
    goes to pods that nobody meant.
    """
    with world.create("selecting", name="mistyped", selector={"app": "backends"}) as service:
        must_stay_silent(world, other_pods, service, than=service.name)
        verify(not service.slices.addresses, f"its EndpointSlices have {sorted(service.slices.addresses)}")
        why = service.pods.mismatches()
        verify("app is backend, not backends" in why[0], f"reported differences of the labels: {why}")
        add_note(world, f"{service.name}: {why[0]}")


@check("endpoints.manual", level=CORE, source=DOCS + "service/#services-without-selectors")
def test_manual(world, spare, other_pods):
    """Without a selector, the EndpointSlices that somebody wrote by hand are served, and followed when they change.

    It is how databases outside the cluster get a name and an address inside.
    """
    first, second, *_ = sorted(spare.endpoints)
    address_of = spare.endpoints.address_of
    with world.create("by-hand", name="by-hand", slices=[[address_of[first]]]) as service:
        every_port = [service.vip(port) for port in ("http", "line", "datagram")]
        expect(other_pods).to_reach(every_port, backends={first})

        service.slices.write(1, address_of[second])

        expect(other_pods).to_reach(service, backends={second})


@check("endpoints.many-slices", level=CORE, source=DOCS + "endpoint-slices/#distribution-of-endpointslices")
def test_many_slices(world, spare, other_pods):
    """Endpoints that are spread over several EndpointSlices are all served.

    A slice holds a hundred endpoints at most, so that every large Service has several. A service proxy that reads one
    of them works until the day when the Service has grown.
    """
    with world.create(
        "by-hand", name="sliced", slices=[[address] for address in sorted(spare.endpoints.addresses)]
    ) as service:
        expect(other_pods).to_reach(service, backends=spare.endpoints, every=True)
