"""The kinds that the lab's API serves: group, version, names, scope and subresources, as a real server lists them."""

from __future__ import annotations

from dataclasses import dataclass

from kubereach_lab import versions

_OBJECT_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_READ_WRITE = ("get", "patch", "update")


@dataclass(frozen=True)
class Subresource:
    """A subresource as discovery describes it; `group` and `version` are empty where they are the parent's."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True)
class Resource:
    """One kind. `name` is the plural by which the registry and URLs know it."""

    name: str
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = _OBJECT_VERBS
    subresources: tuple[Subresource, ...] = ()
    #: metadata.generation is counted: it goes up whenever spec changes
    generation: bool = False
    #: the minor version of Kubernetes that serves it first; 0: they all do
    since: int = 0
    #: where the spec is, for kinds whose desired state has another name
    spec_fields: tuple[str, ...] = ("spec",)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def base_path(self) -> str:
        """``/api/v1`` or ``/apis/apps/v1``."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    @property
    def singular_name(self) -> str:
        return self.singular or self.kind.lower()

    def subresource(self, name: str) -> Subresource | None:
        return next((s for s in self.subresources if s.name == name), None)


def _status(kind: str) -> Subresource:
    return Subresource("status", kind, _READ_WRITE)


_SCALE = Subresource("scale", "Scale", _READ_WRITE, "autoscaling", "v1")
_PROXY_VERBS = ("create", "delete", "get", "patch", "update")
_STREAM_VERBS = ("create", "get")
_NET = "networking.k8s.io"

#: everything that can be listed and watched; the order is discovery's
RESOURCES: tuple[Resource, ...] = (
    Resource("configmaps", "ConfigMap", short_names=("cm",)),
    Resource("endpoints", "Endpoints", short_names=("ep",), singular="endpoints"),
    Resource("events", "Event", short_names=("ev",)),
    Resource(
        "namespaces",
        "Namespace",
        namespaced=False,
        short_names=("ns",),
        verbs=tuple(verb for verb in _OBJECT_VERBS if verb != "deletecollection"),
        subresources=(Subresource("finalize", "Namespace", ("update",)), _status("Namespace")),
    ),
    Resource(
        "nodes",
        "Node",
        namespaced=False,
        short_names=("no",),
        subresources=(Subresource("proxy", "NodeProxyOptions", _PROXY_VERBS), _status("Node")),
    ),
    Resource(
        "pods",
        "Pod",
        short_names=("po",),
        categories=("all",),
        generation=True,
        subresources=(
            Subresource("attach", "PodAttachOptions", _STREAM_VERBS),
            Subresource("binding", "Binding", ("create",)),
            Subresource("ephemeralcontainers", "Pod", _READ_WRITE),
            Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
            Subresource("exec", "PodExecOptions", _STREAM_VERBS),
            Subresource("log", "Pod", ("get",)),
            Subresource("portforward", "PodPortForwardOptions", _STREAM_VERBS),
            Subresource("proxy", "PodProxyOptions", _PROXY_VERBS),
            _status("Pod"),
        ),
    ),
    Resource(
        "replicationcontrollers",
        "ReplicationController",
        short_names=("rc",),
        categories=("all",),
        generation=True,
        subresources=(_SCALE, _status("ReplicationController")),
    ),
    Resource("secrets", "Secret"),
    Resource(
        "serviceaccounts",
        "ServiceAccount",
        short_names=("sa",),
        subresources=(Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),),
    ),
    Resource(
        "services",
        "Service",
        short_names=("svc",),
        categories=("all",),
        subresources=(Subresource("proxy", "ServiceProxyOptions", _PROXY_VERBS), _status("Service")),
    ),
    Resource("controllerrevisions", "ControllerRevision", "apps"),
    Resource(
        "daemonsets",
        "DaemonSet",
        "apps",
        short_names=("ds",),
        categories=("all",),
        generation=True,
        subresources=(_status("DaemonSet"),),
    ),
    Resource(
        "deployments",
        "Deployment",
        "apps",
        short_names=("deploy",),
        categories=("all",),
        generation=True,
        subresources=(_SCALE, _status("Deployment")),
    ),
    Resource(
        "replicasets",
        "ReplicaSet",
        "apps",
        short_names=("rs",),
        categories=("all",),
        generation=True,
        subresources=(_SCALE, _status("ReplicaSet")),
    ),
    Resource(
        "statefulsets",
        "StatefulSet",
        "apps",
        short_names=("sts",),
        categories=("all",),
        generation=True,
        subresources=(_SCALE, _status("StatefulSet")),
    ),
    Resource("jobs", "Job", "batch", categories=("all",), generation=True, subresources=(_status("Job"),)),
    Resource("leases", "Lease", "coordination.k8s.io"),
    Resource(
        "endpointslices",
        "EndpointSlice",
        "discovery.k8s.io",
        generation=True,
        spec_fields=("addressType", "endpoints", "ports"),
    ),
    Resource("ingressclasses", "IngressClass", _NET, namespaced=False, generation=True),
    Resource(
        "ingresses",
        "Ingress",
        _NET,
        short_names=("ing",),
        generation=True,
        subresources=(_status("Ingress"),),
    ),
    Resource("networkpolicies", "NetworkPolicy", _NET, short_names=("netpol",), generation=True),
    Resource(
        "servicecidrs",
        "ServiceCIDR",
        _NET,
        namespaced=False,
        subresources=(_status("ServiceCIDR"),),
        since=versions.SERVICE_CIDRS,
    ),
    Resource(
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "policy",
        short_names=("pdb",),
        generation=True,
        subresources=(_status("PodDisruptionBudget"),),
    ),
)

#: the same Events seen through their newer group; they are stored once, as core/v1 Events
EVENTS_V1 = Resource("events", "Event", "events.k8s.io", short_names=("ev",))

_CREATE = ("create",)
#: kinds that are answered at once and never stored
REVIEWS: tuple[Resource, ...] = (
    Resource("bindings", "Binding", verbs=_CREATE),
    Resource("selfsubjectreviews", "SelfSubjectReview", "authentication.k8s.io", "v1", False, verbs=_CREATE),
    Resource(
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        "authorization.k8s.io",
        "v1",
        False,
        verbs=_CREATE,
    ),
    Resource(
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        "authorization.k8s.io",
        "v1",
        False,
        verbs=_CREATE,
    ),
)

BY_NAME: dict[str, Resource] = {resource.name: resource for resource in RESOURCES}
#: by path: (group, version, plural)
BY_PATH: dict[tuple[str, str, str], Resource] = {
    (resource.group, resource.version, resource.name): resource
    for resource in (*RESOURCES, EVENTS_V1, *REVIEWS)
}


def group_versions(minor: int) -> dict[str, list[Resource]]:
    """Every ``group/version`` (``v1`` for core) that a minor version serves, with its resources, core first."""
    served: dict[str, list[Resource]] = {"v1": []}
    for resource in (*RESOURCES, EVENTS_V1, *REVIEWS):
        if minor < resource.since:
            continue
        served.setdefault(resource.api_version, []).append(resource)
    return served


def groups(minor: int) -> dict[str, dict[str, list[Resource]]]:
    """Group -> version -> resources that a minor version of Kubernetes serves; the core group is empty."""
    served: dict[str, dict[str, list[Resource]]] = {}
    for resources in group_versions(minor).values():
        for resource in resources:
            served.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
    return served
