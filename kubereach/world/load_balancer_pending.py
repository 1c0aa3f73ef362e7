"""Why a Service of type LoadBalancer is still pending: who should have given it an address, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubereach.kube.client import Api, ApiError, Object

_ELSE = "Install one (MetalLB, cloud-provider-kind), or use --self-load-balancer."


@dataclass(frozen=True)
class _Controller:
    """A load balancer controller by what its pods are called, and what it most often lacks."""

    name: str
    #: parts of the names or images of its pods
    parts: tuple[str, ...]
    remedy: str
    #: the collection of its address pools, if it has any
    pools: str = ""


_CONTROLLERS = (
    _Controller(
        "MetalLB",
        ("metallb",),
        "Check the log of its controller.",
        "/apis/metallb.io/v1beta1/ipaddresspools",
    ),
    _Controller("kube-vip", ("kube-vip",), "Its cloud provider needs a range in the ConfigMap kubevip."),
    _Controller(
        "klipper-lb (ServiceLB)",
        ("svclb-", "klipper-lb"),
        "It needs a node where the Service's ports are free.",
    ),
    _Controller(
        "Cilium",
        ("cilium-operator",),
        "LB-IPAM assigns addresses from a CiliumLoadBalancerIPPool.",
        "/apis/cilium.io/v2alpha1/ciliumloadbalancerippools",
    ),
    _Controller(
        "AWS Load Balancer Controller",
        ("aws-load-balancer-controller",),
        "It needs subnets with the tag kubernetes.io/role/elb, and an IAM role.",
    ),
    _Controller(
        "cloud controller manager",
        ("cloud-controller-manager", "cloud-provider-"),
        "Check its log: credentials, quota, or disabled load balancers.",
    ),
)


@dataclass(frozen=True)
class Pending:
    """What was found: `lines` are evidence, `remedy` is what to do."""

    lines: tuple[str, ...]
    remedy: str


def diagnose(api: Api) -> Pending:
    """Look for load balancer controllers in the cluster. What we may not see is left out."""
    pods = _items(api, "/api/v1/pods")
    lines: list[str] = []
    remedies: list[str] = []
    for controller in _CONTROLLERS:
        mine = [pod for pod in pods if _is_of(pod, controller)]
        if not mine:
            continue
        pools = len(_items(api, controller.pools)) if controller.pools else 0
        if controller.name == "Cilium" and not pools:
            continue  # most clusters with Cilium have their load balancers from somebody else
        ready = sum(_is_running(pod) for pod in mine)
        words = f"{controller.name} is installed: {ready} of {len(mine)} pods running"
        lines.append(words + (f", {pools} address pools" if controller.pools else ""))
        if not ready:
            remedies.append(f"Its pods are not running: see `kubectl describe pod` of {controller.name}.")
        elif controller.pools and not pools:
            remedies.append("It has no address pool: create one.")
        else:
            remedies.append(controller.remedy)
    nodes = _items(api, "/api/v1/nodes")
    if not lines and any(str(n["spec"].get("providerID", "")).startswith("kind://") for n in nodes):
        lines.append("the kind cluster has no load balancer controller")
        remedies.append("Start cloud-provider-kind on the machine that runs kind.")
    if not lines:
        lines.append("no known load balancer controller")
    return Pending(tuple(lines), " ".join(remedies) or _ELSE)


def _is_of(pod: Object, controller: _Controller) -> bool:
    images = [str(c.get("image", "")) for c in pod["spec"].get("containers", [])]
    words = [str(pod["metadata"]["name"]), *images]
    return any(part in word for part in controller.parts for word in words)


def _is_running(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running")


def _items(api: Api, path: str) -> Sequence[Object]:
    try:
        found = api.find(path)
    except ApiError:
        return []
    return (found or {}).get("items") or []
