"""Which nodes a run uses: those that our pods can run on, and a sample where they are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from kubereach.kube.client import Object
from kubereach.model.settings import Settings

#: the label of a node that says in which zone it is
ZONE = "topology.kubernetes.io/zone"
_OS, _ARCHITECTURE = "kubernetes.io/os", "kubernetes.io/arch"
#: the taint that all our pods tolerate
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "NoSchedule")


@dataclass(frozen=True)
class LeftOut:
    """A node that takes no part, and why."""

    node: str
    why: str

    def __str__(self) -> str:
        return f"{self.node}: {self.why}"


def choose(items: Sequence[Object], settings: Settings) -> tuple[list[Object], list[LeftOut]]:
    """The nodes to use, in the API's order, and the others."""
    usable, left_out = [], []
    for item in items:
        why = _unusable(item, settings)
        if why:
            left_out.append(LeftOut(item["metadata"]["name"], why))
        else:
            usable.append(item)
    wanted = settings.sample_nodes
    if not wanted or len(usable) <= wanted:
        return usable, left_out
    names = {item["metadata"]["name"] for item in _spread(usable)[:wanted]}
    why = f"not in the sample of {wanted} of {len(usable)} nodes (--all-nodes, --set sample_nodes=N)"
    left_out += [LeftOut(i["metadata"]["name"], why) for i in usable if i["metadata"]["name"] not in names]
    return [item for item in usable if item["metadata"]["name"] in names], left_out


def in_words(left_out: Sequence[LeftOut]) -> list[str]:
    """One line for each reason, with as many names as are read."""
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.why, []).append(one.node)
    lines = []
    for why, names in by_reason.items():
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        lines.append(f"{', '.join(names[:5])}{more}: {why}")
    return lines


def _unusable(item: Object, settings: Settings) -> str:
    """Why our pods do not run on the node; empty if they do."""
    spec, labels = item.get("spec") or {}, item["metadata"].get("labels") or {}
    if labels.get(_OS, "linux") != "linux":
        return f"{labels[_OS]} node: kubereach's pods are Linux containers"
    runs_on = set(settings.image_architectures)
    architecture = labels.get(_ARCHITECTURE, "")
    if runs_on and architecture and architecture not in runs_on:
        return f"{architecture} node: the image supports {', '.join(sorted(runs_on))} (image_architectures)"
    conditions = {c["type"]: c["status"] for c in (item.get("status") or {}).get("conditions") or ()}
    if conditions.get("Ready") != "True":
        return "not ready"
    if spec.get("unschedulable"):
        return "cordoned"
    for taint in spec.get("taints") or ():
        if taint["effect"] != "PreferNoSchedule" and (taint["key"], taint["effect"]) != _CONTROL_PLANE:
            value = f"={taint['value']}" if taint.get("value") else ""
            return f"tainted {taint['key']}{value}:{taint['effect']}"
    addresses = (item.get("status") or {}).get("addresses") or ()
    return "" if any(a["type"] == "InternalIP" for a in addresses) else "no InternalIP"


def _spread(items: Sequence[Object]) -> list[Object]:
    """The nodes in turn from each zone, each zone's in the API's order."""
    zones: dict[str, list[Object]] = {}
    for item in items:
        zones.setdefault((item["metadata"].get("labels") or {}).get(ZONE, ""), []).append(item)
    return [item for turn in zip_longest(*zones.values()) for item in turn if item is not None]


def pinned(pod_spec: Object, nodes: Sequence[str]) -> None:
    """Let a pod run on these nodes alone, by name: labels may be missing, or say something else."""
    affinity = pod_spec.setdefault("affinity", {})
    if "nodeAffinity" in affinity or "nodeName" in pod_spec:
        return
    # a field may only be compared with one value; terms are alternatives
    terms = [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]} for name in nodes
    ]
    affinity["nodeAffinity"] = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}
    }
