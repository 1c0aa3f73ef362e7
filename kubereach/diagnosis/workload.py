"""The first layers of a path: are there pods, are they ready, and do the EndpointSlices say so?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubereach.diagnosis.subject import Subject
from kubereach.kube.client import Object
from kubereach.kube.endpoints import addresses_of
from kubereach.kube.endpointslices import SERVICE
from kubereach.kube.watch_cache import has_condition, is_ready
from kubereach.model.finding import API, WORKLOAD, Finding
from kubereach.world.selector_mismatch import differences

if TYPE_CHECKING:
    from kubereach.world.world import World


def pods_wrong(world: World, subject: Subject) -> Finding | None:
    """The Service's user's own mistake: a selector that matches nothing, pods that do not get ready."""
    if not subject.selects or subject.expected or _last_ones(subject):
        return None
    meta = subject.service["metadata"]
    see = (
        f"kubectl -n {meta['namespace']} get pods --show-labels",
        f"kubectl -n {meta['namespace']} describe service {meta['name']}",
    )
    if not subject.pods:
        lines = differences(
            subject.service["spec"]["selector"], world.watch_cache.all("Pod", meta["namespace"])
        )
        return Finding(
            WORKLOAD, f"Service {subject.name}", "the selector matches no pod", (), tuple(lines), see
        )
    states = tuple(f"pod {pod['metadata']['name']}: {_state(pod)}" for pod in subject.pods)
    see = (f"kubectl -n {meta['namespace']} describe pod {subject.pods[0]['metadata']['name']}", *see[:1])
    return Finding(WORKLOAD, f"Service {subject.name}", "none of the selected pods is ready", (), states, see)


def _state(pod: Object) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "terminating"
    status = pod.get("status", {})
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            again = container.get("restartCount", 0)
            return f"{waiting.get('reason')}: {waiting.get('message', '')}" + (
                f" (restarted {again} times)" if again else ""
            )
    return "ready" if is_ready(pod) else f"{status.get('phase', 'unknown')}, readiness probe fails"


def _last_ones(subject: Subject) -> list[Object]:
    """Pods that are on their way out and still ready: what traffic falls back to where no other is left (KEP-1669)."""
    return [
        pod
        for pod in subject.pods
        if pod["metadata"].get("deletionTimestamp") and has_condition(pod, "Ready")
    ]


#: seconds that EndpointSlices may lag behind their pods: the controller batches changes for up to one
_LAG = 3.0


def slices_late(world: World, subject: Subject) -> Finding | None:
    """EndpointSlices that say the right thing by now, but not soon enough."""
    meta = subject.service["metadata"]
    seconds = world.slice_lag.longest(meta["namespace"], meta["name"])
    if seconds < _LAG:
        return None
    what = f"those of Service {subject.name} were updated {seconds:.1f} s after its pods changed"
    see = ("kubectl -n kube-system logs -l component=kube-controller-manager --tail=50",)
    return Finding(API, "EndpointSlices", what, (), (), see)


def hostnames_wrong(subject: Subject) -> Finding | None:
    """Pods with a name of their own below the Service's, which EndpointSlices must pass on to DNS."""
    meta = subject.service["metadata"]
    lines = [
        f"pod {pod['metadata']['name']} ({address}) has the hostname {pod['spec']['hostname']}, "
        "its endpoint does not"
        for pod in subject.pods
        if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == meta["name"]
        for address in [pod.get("status", {}).get("podIP", "")]
        if address in subject.listed and subject.listed[address].hostname != pod["spec"]["hostname"]
    ]
    return _slices(subject, "lack pods' hostnames", lines) if lines else None


def hints_wrong(subject: Subject) -> Finding | None:
    """EndpointSlices that do not say for whom each endpoint is, though the Service asks for that."""
    distribution = subject.service["spec"].get("trafficDistribution")
    if not distribution or any(endpoint.hinted for endpoint in subject.listed.values()):
        return None
    lines = [f"trafficDistribution is {distribution}, but none of {len(subject.listed)} endpoints has hints"]
    return _slices(subject, "have no hints", lines)


def slices_wrong(subject: Subject) -> Finding | None:
    """EndpointSlices that do not say what the pods are: neither a service proxy nor DNS can know better."""
    if not subject.selects:
        return None
    ready = {address for address, endpoint in subject.listed.items() if endpoint.ready}
    missing, extra = sorted(subject.expected.keys() - ready), sorted(ready - subject.expected.keys())
    wrong = [
        f"{address} is listed with port {subject.listed[address].number}, its target port is "
        f"{endpoint.number}"
        for address, endpoint in sorted(subject.expected.items())
        if address in ready and endpoint.number and subject.listed[address].number not in (0, endpoint.number)
    ]
    lines = [f"pod {subject.expected[a].pod} ({a}) is ready but not listed as ready" for a in missing]
    lines += [
        f"{a} ({subject.listed[a].pod}) is listed as ready but is not one of its ready pods" for a in extra
    ]
    lines += wrong
    if not subject.expected:
        lines += [
            f"pod {pod['metadata']['name']} is terminating and still serving but not listed"
            for pod in _last_ones(subject)
            if not set(addresses_of(pod)) & subject.listed.keys()
        ]
    if not lines:
        return None
    return _slices(subject, f"do not match its pods: {lines[0]}", lines)


def _slices(subject: Subject, what: str, lines: list[str]) -> Finding:
    meta = subject.service["metadata"]
    see = (
        f"kubectl -n {meta['namespace']} get endpointslices -l {SERVICE}={meta['name']} -o yaml",
        f"kubectl -n {meta['namespace']} get pods -o wide",
        "kubectl -n kube-system logs -l component=kube-controller-manager --tail=50",
    )
    return Finding(API, "EndpointSlices", f"those of Service {subject.name} {what}", (), tuple(lines), see)
