"""What providers of load balancers understand in annotations."""

from __future__ import annotations

from kubereach import DOCS, EXT, LB_CONTROLLER, LOADBALANCER, OUTSIDE, check
from kubereach.expect import cases_of, must_show


@check(
    "loadbalancer.annotations",
    slow=True,
    level=EXT,
    needs=(LOADBALANCER, LB_CONTROLLER, OUTSIDE),
    source=DOCS + "service/#internal-load-balancer",
)
def test_annotations(world, other_pods, outside):
    """The provider's annotations are applied, and what they ask for comes of it: internal addresses, TLS, an address.

    `--lb-provider` names the overlay in manifests/overlays/, `--lb-value` what it cannot know, such as a certificate.
    Annotations are strings that nobody validates: a misspelt one, or one of another controller, is silently ignored.
    """
    with cases_of(world) as cases:
        for case in cases:
            fields = {"annotations": case.annotations, "spec": case.spec}
            with world.create("over-backend", name=case.name, tcp=True, **fields) as service:
                must_show(case, service, inside=other_pods, outside=outside)
