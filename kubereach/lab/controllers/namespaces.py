"""What appears in a namespace by itself, and what happens when it goes.

Source: https://kubernetes.io/docs/tasks/administer-cluster/namespaces/
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.lab.controllers.base import Controller, Key, Object, being_deleted, name_of
from kubereach.lab.registry import Registry
from kubereach.lab.resources import RESOURCES


class NamespaceController(Controller):
    """Gives each namespace its default ServiceAccount and the cluster's CA; empties it when it is deleted."""

    def __init__(self, registry: Registry, ca: str) -> None:
        super().__init__(registry)
        self._ca = ca
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
            return
        if being_deleted(found):
            self._empty(name)
        else:
            self._furnish(name)

    def _furnish(self, name: str) -> None:
        if self.registry.find("serviceaccounts", name, "default") is None:
            self.registry.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name}})
        if self.registry.find("configmaps", name, "kube-root-ca.crt") is None:
            meta = {"name": "kube-root-ca.crt", "namespace": name}
            self.registry.create("configmaps", {"metadata": meta, "data": {"ca.crt": self._ca}})

    def _empty(self, name: str) -> None:
        left = 0
        for resource in self._namespaced:
            for obj in self.registry.list(resource, name):
                if not being_deleted(obj):
                    self.registry.delete(resource, *name_of(obj), propagation="Background")
                left += self.registry.find(resource, *name_of(obj)) is not None
        if not left:
            self.registry.finalize(name)
