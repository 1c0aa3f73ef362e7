"""Whether a check can be measured again from its beginning: what it has made is gone, and what it has lent is back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from kubereach.kube.client import ApiError, path_of
from kubereach.kube.endpointslices import service_of
from kubereach.model.errors import CannotMeasure
from kubereach.model.events import Changed

if TYPE_CHECKING:
    from kubereach.kube.watch_cache import WatchCache
    from kubereach.world.world import World

#: (kind, namespace, name)
_Key = tuple[str, str, str]
#: kinds that the watch cache follows: of others it is not known when they are gone
_SEEN = frozenset({"Service", "EndpointSlice", "Deployment", "StatefulSet", "DaemonSet", "Pod"})


def renew(world: World, changes: Sequence[Changed]) -> str:
    """Have the cluster as it was before `changes`, those of one check: "" if it is, else why it is not.

    Waits until what was made is gone, pods and EndpointSlices included, for ``world_deadline`` seconds at most; until
    then it would be among the endpoints of what is made anew under the same names. Labels that Services have lent to
    pods are taken back. What else was changed of objects that others use too is not known to be as it was.
    """
    made = {_key(change) for change in changes if change.action == "create"}
    for change in changes:
        key = _key(change)
        if change.action == "create" and key[0] not in _SEEN:
            return f"kubereach does not track the deletion of {change.object}"
        lent = change.action == "patch" and key[0] == "Pod"
        if key not in made and not lent and not _is_pod_of(key, made):
            return f"the check changed {change.object}, which it does not own"
    try:
        _take_back(world, made)
        if world.watch_cache.wait(lambda: not _left(world, made), world.context.settings.world_deadline):
            return ""
    except (ApiError, CannotMeasure) as error:
        return f"undoing it failed: {error}"
    return f"the deletion of {', '.join(_left(world, made))} did not finish"


def _key(change: Changed) -> _Key:
    kind, _, where = change.object.partition(" ")
    namespace, _, name = where.partition("/")
    return kind, namespace, name


def _is_pod_of(key: _Key, made: Collection[_Key]) -> bool:
    """Whether it is a pod of a Deployment (``NAME-HASH-SUFFIX``) among those that were made."""
    kind, namespace, name = key
    return kind == "Pod" and ("Deployment", namespace, name.rsplit("-", 2)[0]) in made


def _take_back(world: World, made: Collection[_Key]) -> None:
    for (namespace, pod, label), service in list(world.lent.items()):
        if ("Service", namespace, service) in made and _bears(world.watch_cache, namespace, pod, label):
            world.api.patch(path_of(("v1", "Pod"), namespace, pod), {"metadata": {"labels": {label: None}}})


def _bears(watch_cache: WatchCache, namespace: str, pod: str, label: str) -> bool:
    found = watch_cache.get("Pod", namespace, pod)
    return found is not None and label in (found["metadata"].get("labels") or {})


def _left(world: World, made: Collection[_Key]) -> list[str]:
    """What is still there of what was made, what came of it, and labels that were lent."""
    watch_cache = world.watch_cache
    there = [
        f"{kind} {namespace}/{name}"
        for kind, namespace, name in made
        if watch_cache.get(kind, namespace, name)
    ]
    pods = [
        ("Pod", p["metadata"].get("namespace", ""), p["metadata"]["name"]) for p in watch_cache.all("Pod")
    ]
    there += [
        f"Pod {namespace}/{name}" for _, namespace, name in pods if _is_pod_of(("Pod", namespace, name), made)
    ]
    for part in watch_cache.all("EndpointSlice"):
        namespace = str(part["metadata"].get("namespace", ""))
        if ("Service", namespace, service_of(part)) in made:
            there.append(f"EndpointSlice {namespace}/{part['metadata']['name']}")
    there += [
        f"label {label} of Pod {namespace}/{pod}"
        for (namespace, pod, label), service in list(world.lent.items())
        if ("Service", namespace, service) in made and _bears(watch_cache, namespace, pod, label)
    ]
    return sorted(set(there))
