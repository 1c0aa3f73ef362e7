"""What the rules of a fault are made of: the addresses of a running lab, as its API has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from kubereach.kube.client import Api, Object
from kubereach.kube.watch_cache import is_ready

#: seconds for which objects that a run makes are waited for (a run that ends ends the waiting), and between two looks
_PATIENCE, _PAUSE = 600.0, 0.1
#: how names of the lab's nodes are shortened in reports
PREFIX = "kubereach-"


@dataclass(frozen=True)
class Node:
    """A node: its name, its own address and the range of its pods."""

    name: str
    address: str
    pods: str

    @property
    def short(self) -> str:
        return self.name.removeprefix(PREFIX)


@dataclass(frozen=True)
class Pod:
    """A pod: its name, its address and the number of its node."""

    name: str
    address: str
    node: int


@dataclass(frozen=True)
class Facts:
    """The addresses of a lab. What the run makes is empty until `with_world`."""

    nodes: tuple[Node, ...]
    #: the ranges of cluster IPs, in CIDR notation
    services: tuple[str, ...]
    dns_service: str
    #: by name
    replicas: tuple[Pod, ...]
    #: one for each node, in the nodes' order
    backends: tuple[Pod, ...] = ()
    #: the pod of manifests/services/lonely.yaml, which is an endpoint of hardly any Service
    lonely: Pod | None = None
    #: cluster IPs by the Service's name
    cluster_ips: dict[str, str] = field(default_factory=dict)
    #: load-balancer addresses
    balanced: tuple[str, ...] = ()


def base_facts(api: Api) -> Facts:
    """What a lab has from the start. Raises `ApiError` and `CannotMeasure`."""
    nodes = tuple(_node(item) for item in api.items("/api/v1/nodes"))
    ranges = api.items("/apis/networking.k8s.io/v1/servicecidrs")
    dns = api.get("/api/v1/namespaces/kube-system/services/kube-dns")
    pods = api.items("/api/v1/namespaces/kube-system/pods", labelSelector="k8s-app=kube-dns")
    return Facts(
        nodes,
        tuple(cidr for item in ranges for cidr in item["spec"]["cidrs"]),
        dns["spec"]["clusterIP"],
        tuple(sorted((_pod(item, nodes) for item in pods), key=lambda pod: pod.name)),
    )


def with_world(api: Api) -> Facts:
    """The same with what a run has made, as soon as all of it is there. Raises `TimeoutError` after ten minutes."""
    found: Facts | None = _retried(lambda: _world(api))
    if found is None:
        raise TimeoutError(f"the run did not make its pods and Services within {_PATIENCE:.0f} s")
    return found


def _retried(look: Callable[[], Facts | None]) -> Facts | None:
    retrying = Retrying(
        retry=retry_if_result(lambda found: found is None),
        stop=stop_after_delay(_PATIENCE),
        wait=wait_fixed(_PAUSE),
        retry_error_callback=lambda _: None,
    )
    return retrying(look)


def _world(api: Api) -> Facts | None:
    base = base_facts(api)
    services = {one["metadata"]["name"]: one for one in api.items("/api/v1/services") if _is_ours(one)}
    backends = [_pod(item, base.nodes) for item in _ready(api, "backend")]
    lonely = [_pod(item, base.nodes) for item in _ready(api, "lonely")]
    balanced = tuple(
        ingress["ip"]
        for name in ("loadbalancer", "balanced-datagrams")
        for ingress in services.get(name, {}).get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    )
    if len(backends) < len(base.nodes) or not lonely or len(balanced) < 2:
        return None
    ips = {name: one["spec"].get("clusterIP", "") for name, one in services.items()}
    return Facts(
        base.nodes,
        base.services,
        base.dns_service,
        base.replicas,
        tuple(sorted(backends, key=lambda pod: pod.node)),
        lonely[0],
        ips,
        balanced,
    )


def _is_ours(service: Object) -> bool:
    """Of the Services' namespace: the other one has a Service of the same name, over no pods."""
    selector = service["spec"].get("selector") or {}
    return bool(selector.get("app") != "nobody")


def _ready(api: Api, app: str) -> list[Object]:
    pods = api.items("/api/v1/pods", labelSelector=f"app={app}")
    return [pod for pod in pods if is_ready(pod) and pod["status"].get("podIP")]


def _node(item: Object) -> Node:
    (address,) = (one["address"] for one in item["status"]["addresses"] if one["type"] == "InternalIP")
    return Node(item["metadata"]["name"], address, item["spec"]["podCIDR"])


def _pod(item: Object, nodes: tuple[Node, ...]) -> Pod:
    names = [node.name for node in nodes]
    return Pod(item["metadata"]["name"], item["status"]["podIP"], names.index(item["spec"]["nodeName"]))
