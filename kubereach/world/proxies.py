"""Which program stands for a service proxy on each node, where kube-proxy does not tell itself."""

from __future__ import annotations

from kubereach.api import Api

#: what the name of a DaemonSet's pod begins with, and what it means for Services
_KNOWN = {
    "kube-proxy": "kube-proxy, which does not tell its mode",
    "cilium-envoy": "",
    "cilium-operator": "",
    "cilium-": "a replacement: Cilium (eBPF)",
    "calico-node": "a replacement: Calico",
    "antrea-agent": "a replacement: Antrea",
    "kube-router": "a replacement: kube-router (IPVS)",
    "ovnkube-node": "a replacement: OVN-Kubernetes",
    "ovs-node": "a replacement: OVN-Kubernetes",
}


def proxies_by_node(api: Api) -> dict[str, str]:
    """What serves Services on each node, in words, by the pods that are there; kube-proxy goes before a CNI."""
    found: dict[str, list[str]] = {}
    for pod in (api.find("/api/v1/pods") or {}).get("items", []):
        owners = pod["metadata"].get("ownerReferences") or ()
        if any(owner["kind"] in ("DaemonSet", "Node") for owner in owners):
            name = pod["metadata"]["name"]
            prefix = next((known for known in _KNOWN if name.startswith(known)), "")
            if prefix and _KNOWN[prefix]:
                found.setdefault(pod["spec"].get("nodeName", ""), []).append(prefix)
    order = list(_KNOWN)
    return {node: _KNOWN[min(prefixes, key=order.index)] for node, prefixes in found.items()}
