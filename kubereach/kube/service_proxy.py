"""Which program serves Services on each node: by the pods that are there, and by what their configuration says.

kube-proxy tells its mode itself, to programs of its node; this is for where it does not, or is not there. A network
plugin is taken for a service proxy only where it is known to be one: most of them leave Services to kube-proxy, which
may be part of another program (k3s, MicroK8s).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubereach.kube.client import Api, Object

_SYSTEM = "/api/v1/namespaces/kube-system"
_POD_OWNERS = ("DaemonSet", "Node")


@dataclass(frozen=True)
class ServiceProxy:
    """What serves Services on a node."""

    #: for people
    words: str
    #: it translates in connect() itself, which then also is what refuses: with EHOSTUNREACH or EPERM
    at_connect: bool = False
    #: it is made of the kernel's IPVS
    ipvs: bool = False

    def __str__(self) -> str:
        return self.words


_CILIUM = ServiceProxy("a replacement: Cilium (eBPF)", at_connect=True)
_CALICO = ServiceProxy("a replacement: Calico (eBPF)", at_connect=True)
_UNKNOWN_MODE = "kube-proxy, mode unknown"
#: by the name of the DaemonSet: those that need no second look
_PLAIN = {
    "anetd": ServiceProxy("a replacement: GKE Dataplane V2 (Cilium)", at_connect=True),
    "kube-router": ServiceProxy("a replacement: kube-router (IPVS)", ipvs=True),
    "ovnkube-node": ServiceProxy("a replacement: OVN-Kubernetes"),
    "ovs-node": ServiceProxy("a replacement: OVN-Kubernetes"),
    "antrea-agent": ServiceProxy("a replacement: Antrea (AntreaProxy)"),
}


def proxies_by_node(api: Api) -> dict[str, ServiceProxy]:
    """What serves Services on each node, as far as can be told; kube-proxy goes before a CNI that leaves it to it."""
    return Proxies(api).by_node


class Proxies:
    """The service proxies of a cluster, looked at when somebody first wants to know."""

    def __init__(self, api: Api, mode_on: Callable[[str], str] = lambda _: "") -> None:
        """`mode_on` asks the kube-proxy of a node for its mode; "" if it does not answer."""
        self._api = api
        self._mode_on = functools.cache(mode_on)

    def on(self, node: str) -> ServiceProxy | None:
        """What serves Services on a node; None if that cannot be told."""
        found = self.by_node.get(node)
        if found is not None and found.at_connect:  # whatever kube-proxy may be there besides
            return found
        mode = self._mode_on(node)
        return ServiceProxy(f"kube-proxy in mode {mode}", ipvs=mode == "ipvs") if mode else found

    @functools.cached_property
    def by_node(self) -> dict[str, ServiceProxy]:
        pods: dict[str, dict[str, Object]] = {}
        for pod in self._pods():
            if name := _program(pod):
                pods.setdefault((pod.get("spec") or {}).get("nodeName", ""), {})[name] = pod
        return {node: found for node, here in pods.items() if (found := self._serving(here))}

    def _pods(self) -> list[Object]:
        """All pods, or those of kube-system where only these are ours to see."""
        for path in ("/api/v1/pods", f"{_SYSTEM}/pods"):
            if found := self._api.find(path):
                return found.get("items") or []
        return []

    def _serving(self, here: Mapping[str, Object]) -> ServiceProxy | None:
        if "cilium" in here and self._cilium_replaces(with_kube_proxy="kube-proxy" in here):
            return _CILIUM
        if "calico-node" in here and _is_on(here["calico-node"], "FELIX_BPFENABLED"):
            return _CALICO
        if "kube-proxy" in here:
            return self._kube_proxy
        return next((_PLAIN[name] for name in _PLAIN if name in here), None)

    def _cilium_replaces(self, *, with_kube_proxy: bool) -> bool:
        """Whether Cilium serves Services itself; where its configuration cannot be read, if nobody else does."""
        setting = self._settings("cilium-config").get("kube-proxy-replacement")
        if setting is None:
            return not with_kube_proxy
        return setting in ("true", "strict") or (setting in ("partial", "probe") and not with_kube_proxy)

    @functools.cached_property
    def _kube_proxy(self) -> ServiceProxy:
        """kube-proxy, with the mode that its configuration asks for."""
        text = self._settings("kube-proxy").get("config.conf", "")
        mode = re.search(r"^mode:\s*[\"']?(\w*)", text, re.MULTILINE)
        if mode is None:
            return ServiceProxy(_UNKNOWN_MODE)
        name = mode[1] or "iptables"
        return ServiceProxy(f"{_UNKNOWN_MODE} ({name} in its configuration)", ipvs=name == "ipvs")

    def _settings(self, config_map: str) -> dict[str, str]:
        found = self._api.find(f"{_SYSTEM}/configmaps/{config_map}") or {}
        return found.get("data") or {}


def _program(pod: Object) -> str:
    """The DaemonSet that a pod is of, or the static pod that it is; "" for pods that cannot be a service proxy."""
    meta = pod["metadata"]
    for owner in meta.get("ownerReferences") or ():
        if owner["kind"] == "Node":  # kube-proxy-NODE
            return "kube-proxy" if meta["name"].startswith("kube-proxy-") else ""
        if owner["kind"] in _POD_OWNERS:
            return str(owner.get("name", ""))
    return ""


def _is_on(pod: Object, variable: str) -> bool:
    """Whether a container of the pod has this environment variable set to something true."""
    values = {
        str(one.get("value", "")).lower()
        for container in pod["spec"].get("containers") or ()
        for one in container.get("env") or ()
        if one["name"] == variable
    }
    return bool(values & {"true", "1", "yes", "enabled"})
