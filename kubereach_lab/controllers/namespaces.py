"""What appears in a namespace by itself, and what happens when it goes.

Source: https://kubernetes.io/docs/tasks/administer-cluster/namespaces/
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.meta import Key, Object, being_deleted, name_of, written_condition
from kubereach_lab.registry import Registry
from kubereach_lab.resources import BY_NAME, RESOURCES

#: seconds between a namespace's deletion and that of what is in it. A real controller lets five pass, so that every API
#: server refuses new objects by then (namespaceDeletionGracePeriod); clients see Terminating without conditions so long
_DELAY = 0.5
_CA_SAYS = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class NamespaceController(Controller):
    """Gives each namespace its default ServiceAccount and the cluster's CA; empties it when it is deleted."""

    def __init__(self, registry: Registry, ca: str) -> None:
        super().__init__(registry)
        self._ca = ca
        self._begin: dict[str, float] = {}
        self._namespaced = [r.name for r in RESOURCES if r.namespaced]

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del old
        if resource == "namespaces":
            yield "", new["metadata"]["name"]
        elif verb == "DELETED" and "namespace" in new["metadata"]:
            yield "", new["metadata"]["namespace"]

    def reconcile(self, namespace: str, name: str) -> None:
        del namespace
        found = self.registry.find("namespaces", None, name)
        if found is None:
            self._begin.pop(name, None)
        elif being_deleted(found):
            self._end(name)
        else:
            self._furnish(name)

    def _furnish(self, name: str) -> None:
        if self.registry.find("serviceaccounts", name, "default") is None:
            self.registry.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name}})
        if self.registry.find("configmaps", name, "kube-root-ca.crt") is None:
            meta = {
                "name": "kube-root-ca.crt",
                "namespace": name,
                "annotations": {"kubernetes.io/description": _CA_SAYS},
            }
            self.registry.create("configmaps", {"metadata": meta, "data": {"ca.crt": self._ca}})

    def _end(self, name: str) -> None:
        time = asyncio.get_running_loop().time()
        if name not in self._begin:
            self._begin[name] = time + _DELAY
            self.enqueue_later(("", name), _DELAY)
        elif self._begin[name] <= time:
            self._empty(name)

    def _empty(self, name: str) -> None:
        left: Counter[str] = Counter()
        finalizers: Counter[str] = Counter()
        for resource in self._namespaced:
            for obj in self.registry.list(resource, name):
                if not being_deleted(obj):
                    self.registry.delete(resource, *name_of(obj), propagation="Background")
                remaining = self.registry.find(resource, *name_of(obj))
                if remaining is not None:
                    left[f"{resource}.{BY_NAME[resource].group}"] += 1
                    finalizers.update(remaining["metadata"].get("finalizers") or [])
        self._report(name, left, finalizers)
        if not left:
            self.registry.update("namespaces", None, name, _finalize, subresource="finalize")

    def _report(self, name: str, left: Counter[str], finalizers: Counter[str]) -> None:
        """Say in the namespace's conditions what keeps it."""

        def mutate(namespace: Object) -> None:
            conditions = _conditions(left, finalizers)
            namespace["status"]["conditions"] = [written_condition(namespace, *words) for words in conditions]

        self.registry.update("namespaces", None, name, mutate, subresource="status")


def _finalize(namespace: Object) -> None:
    """Takes off the finalizer ``kubernetes``, by which a namespace that is being deleted goes."""
    namespace["spec"] = {}


def _conditions(left: Counter[str], finalizers: Counter[str]) -> list[tuple[str, str, str, str]]:
    """(type, status, reason, message) of each condition."""
    found = [
        ("DiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        ("GroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        (
            "ContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
    ]
    conditions = [(f"NamespaceDeletion{kind}", "False", reason, message) for kind, reason, message in found]
    if left:
        remaining = ", ".join(
            f"{resource} has {count} resource instances" for resource, count in sorted(left.items())
        )
        message = f"Some resources are remaining: {remaining}"
        conditions.append(("NamespaceContentRemaining", "True", "SomeResourcesRemain", message))
    else:
        message = "All content successfully removed"
        conditions.append(("NamespaceContentRemaining", "False", "ContentRemoved", message))
    if finalizers:
        remaining = ", ".join(
            f"{one} in {count} resource instances" for one, count in sorted(finalizers.items())
        )
        message = f"Some content in the namespace has finalizers remaining: {remaining}"
        conditions.append(("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message))
    else:
        message = "All content-preserving finalizers finished"
        conditions.append(("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", message))
    return conditions
