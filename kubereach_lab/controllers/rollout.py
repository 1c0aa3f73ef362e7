"""The arithmetic of roll-outs: how many pods which ReplicaSet of a Deployment may have, and its notes in annotations.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ (max surge, max unavailable, proportional
scaling).
"""

from __future__ import annotations

from collections.abc import Iterator

from kubereach_lab.controllers.meta import Object, scaled

HASH = "pod-template-hash"
_PREFIX = "deployment.kubernetes.io/"
REVISION = f"{_PREFIX}revision"
_HISTORY = f"{_PREFIX}revision-history"
_DESIRED = f"{_PREFIX}desired-replicas"
_MOST = f"{_PREFIX}max-replicas"
#: annotations of a Deployment that its sets do not get
_OWN = frozenset({"kubectl.kubernetes.io/last-applied-configuration", REVISION, _HISTORY, _DESIRED, _MOST})


def wanted(sets: list[Object]) -> int:
    """The pods that ReplicaSets are asked for."""
    return sum(s["spec"]["replicas"] for s in sets)


def revision_of(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, "0"))


def surge(deployment: Object) -> int:
    """How many pods more than asked for there may be."""
    rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
    return scaled(rolling.get("maxSurge", 0), deployment["spec"]["replicas"], up=True)


def unavailable(deployment: Object) -> int:
    """How many pods may be missing."""
    replicas = int(deployment["spec"]["replicas"])
    if deployment["spec"]["strategy"]["type"] != "RollingUpdate" or not replicas:
        return 0
    rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
    most = scaled(rolling.get("maxUnavailable", 0), replicas, up=False)
    return min(most or (0 if surge(deployment) else 1), replicas)


def annotate(replica_set: Object, deployment: Object, revision: int, *, sizes: bool = True) -> None:
    """Write the Deployment's annotations, the revision and, with `sizes`, the sizes that the set was made for."""
    replicas = deployment["spec"]["replicas"]
    annotations = replica_set["metadata"].setdefault("annotations", {})
    inherited = deployment["metadata"].get("annotations") or {}
    annotations.update({key: value for key, value in inherited.items() if key not in _OWN})
    before = annotations.get(REVISION)
    if int(before or 0) < revision:
        annotations[REVISION] = str(revision)
        if before:
            history = [one for one in annotations.get(_HISTORY, "").split(",") if one]
            annotations[_HISTORY] = ",".join([*history, before])
    if sizes:
        annotations[_DESIRED] = str(replicas)
        annotations[_MOST] = str(replicas + surge(deployment))


def room_for_new(deployment: Object, sets: list[Object], size: int) -> int:
    """How large the new set, now of `size`, may be while the others are there."""
    replicas = int(deployment["spec"]["replicas"])
    if deployment["spec"]["strategy"]["type"] != "RollingUpdate":
        return replicas
    room = replicas + surge(deployment) - wanted(sets)
    return size + min(max(room, 0), max(replicas - size, 0))


def spare_old(deployment: Object, current: Object, old: list[Object]) -> Iterator[tuple[Object, int]]:
    """The old sets that can do with fewer pods, and how many: first those pods that serve nobody."""
    least = deployment["spec"]["replicas"] - unavailable(deployment)
    # Counted by what was asked for, not by what is: the status of a set that was just resized is of before.
    spare = wanted([current, *old]) - least - (current["spec"]["replicas"] - _serving(current))
    if spare <= 0 or not wanted(old):
        return
    sizes = {s["metadata"]["uid"]: int(s["spec"]["replicas"]) for s in old}
    for replica_set in old:
        uid = replica_set["metadata"]["uid"]
        cut = min(spare, sizes[uid] - _serving(replica_set))
        sizes[uid] -= cut
        spare -= cut
    spare = min(spare, sum(map(_serving, [current, *old])) - least)
    for replica_set in old:
        uid = replica_set["metadata"]["uid"]
        cut = min(max(spare, 0), sizes[uid])
        sizes[uid] -= cut
        spare -= cut
        if sizes[uid] != replica_set["spec"]["replicas"]:
            yield replica_set, sizes[uid]


def shares(deployment: Object, active: list[Object]) -> Iterator[tuple[Object, int]]:
    """Proportional scaling: a changed number of replicas is dealt out by the sets' sizes, the largest first."""
    allowed = deployment["spec"]["replicas"] + surge(deployment) if deployment["spec"]["replicas"] else 0
    left = allowed - wanted(active)
    order = sorted(active, key=lambda s: s["metadata"]["creationTimestamp"], reverse=left > 0)
    order.sort(key=lambda s: s["spec"]["replicas"], reverse=True)
    total, goals = left, []
    for replica_set in order:
        size = replica_set["spec"]["replicas"]
        annotations = replica_set["metadata"].get("annotations") or {}
        before = int(annotations.get(_MOST, deployment["spec"]["replicas"]))
        share = round(size * allowed / before) - size if before else 0
        share = min(share, left) if total > 0 else max(share, left)
        goals.append(size + share)
        left -= share
    goals[0] = max(goals[0] + left, 0)
    yield from zip(order, goals, strict=True)


def _serving(replica_set: Object) -> int:
    """Available pods, as far as they are still wanted."""
    available = int((replica_set.get("status") or {}).get("availableReplicas", 0))
    return min(available, int(replica_set["spec"]["replicas"]))
