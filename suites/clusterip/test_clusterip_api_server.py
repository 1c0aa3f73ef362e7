"""The one Service that every cluster has."""

from __future__ import annotations

from kubereach import CORE, check
from kubereach.expect import expect


@check(
    "clusterip.api-server",
    level=CORE,
    source="https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/",
)
def test_api_server(pods, cluster):
    """`kubernetes.default` answers TLS with a certificate for its names and its address.

    Every controller in the cluster gets to the API this way. A certificate that lacks the name or the address was made
    for another service range or domain; a timeout means that pods have no way to the control plane.
    """
    expect(pods).to_trust(cluster.api_addresses, ca=cluster.ca)
