"""Labels by which a Service, or an EndpointSlice, is kept from the service proxy."""

from __future__ import annotations

from kubereach import CORE, LABELS, check
from kubereach.expect import expect, must_stay_silent

PROXY_NAME = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"


@check(
    "labels.service-proxy-name",
    slow=True,
    level=CORE,
    source=LABELS + "#servicekubernetesioservice-proxy-name",
)
def test_service_proxy_name(world, clusterip, other_pods):
    """A Service with the label service.kubernetes.io/service-proxy-name is left to the service proxy of that name.

    Two proxies that program one Service undo each other's work. The label counts from the first moment on, and on a
    live Service as soon as it is set or taken away.
    """
    with world.create("over-backend", name="proxied", labels={PROXY_NAME: "kubereach.dev-nobody"}) as service:
        must_stay_silent(world, other_pods, service, than=service.name)
        service.set_label(PROXY_NAME, None)
        expect(other_pods).to_reach(service, backends=service.endpoints)
        service.set_label(PROXY_NAME, "kubereach.dev-nobody")
        expect(other_pods).not_to_be_answered(service, control=clusterip)


@check("labels.headless", slow=True, level=CORE, source=LABELS + "#servicekubernetesioheadless")
def test_headless(world, clusterip, spare, other_pods):
    """An EndpointSlice is left alone by the service proxy while it has the label service.kubernetes.io/headless.

    The control plane sets it on the EndpointSlices of headless Services, so that proxies need not follow them. On a
    Service it means nothing: kube-proxy heeded it there by accident until Kubernetes 1.34 (kubernetes #134623).
    """
    backend = min(spare.endpoints)
    with world.create("by-hand", name="unproxied", slices=[[spare.endpoints.address_of[backend]]]) as service:
        expect(other_pods).to_reach(service, backends={backend})
        service.slices.label(1, HEADLESS, "")
        expect(other_pods).not_to_be_answered(service, control=clusterip)
        service.slices.label(1, HEADLESS, None)
        expect(other_pods).to_reach(service, backends={backend})
