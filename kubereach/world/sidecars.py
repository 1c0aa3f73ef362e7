"""Containers that others put into our pods: asked for not to be, and reported where they are.

A proxy beside a probe takes its connections: a refusal becomes an accepted connection that is reset, and addresses are
the proxy's. What is measured then is the mesh, not the cluster's own network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kubereach.kube.client import Object
from kubereach.world.manifests import CONTAINER

#: labels and annotations by which the usual meshes leave a pod alone; some look at the one, some at the other. Sources:
#: https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy
#: https://istio.io/latest/docs/ambient/usage/add-workloads/
#: https://linkerd.io/2/features/proxy-injection/
#: https://kuma.io/docs/latest/production/dp-config/dpp-on-kubernetes/
#: https://release-v1-2.docs.openservicemesh.io/docs/guides/app_onboarding/sidecar_injection/
#: https://developer.hashicorp.com/consul/docs/reference/k8s/annotation-label
LABELS = {
    "sidecar.istio.io/inject": "false",
    "istio.io/dataplane-mode": "none",
    "kuma.io/sidecar-injection": "disabled",
}
ANNOTATIONS = {
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",
    "openservicemesh.io/sidecar-injection": "disabled",
    "consul.hashicorp.com/connect-inject": "false",
}


def exempt(meta: Object) -> None:
    """Have the metadata of a pod, or of its template, ask meshes to leave it alone; what it says itself counts."""
    meta["labels"] = {**LABELS, **(meta.get("labels") or {})}
    meta["annotations"] = {**ANNOTATIONS, **(meta.get("annotations") or {})}


def foreign_containers(pod: Object) -> list[str]:
    """The names of a pod's containers that are not ours, native sidecars included."""
    spec = pod["spec"]
    native = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    names = [str(one["name"]) for one in (*spec.get("containers", ()), *native)]
    return [name for name in names if name != CONTAINER]


def injection_note(pods: Iterable[Object]) -> str:
    """What to report of foreign containers in our pods; empty if there are none."""
    all_pods = list(pods)
    found = Counter(name for pod in all_pods for name in foreign_containers(pod))
    if not found:
        return ""
    names = ", ".join(f"{name} (in {count} of {len(all_pods)} pods)" for name, count in sorted(found.items()))
    return (
        f"containers that are not kubereach's run in its pods: {names}. If one of them is a proxy, it and not the "
        "network may have refused, answered or translated what checks measured: exempt kubereach's namespaces from "
        "injection"
    )
