"""Namespaces: active from the start, held by the finalizer ``kubernetes`` until they are empty."""

from __future__ import annotations

from kubereach_lab.defaults import names
from kubereach_lab.defaults.strategy import Strategy
from kubereach_lab.status import Object
from kubereach_lab.times import now

NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    """Namespaces."""

    def name_problems(self, name: str) -> list[str]:
        return names.label_problems(name)

    def initial_status(self, new: Object) -> None:
        new["status"] = {"phase": "Active"}

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        if name := new["metadata"].get("name"):
            new["metadata"].setdefault("labels", {})[NAME_LABEL] = name
        if old is None:
            new["spec"] = {"finalizers": ["kubernetes"]}
        else:
            # only the finalize subresource changes them
            new["spec"] = old["spec"]

    def mark(self, obj: Object, seconds: int) -> None:
        if not obj["metadata"].get("deletionTimestamp"):
            obj["metadata"]["deletionTimestamp"] = now()
            obj["status"]["phase"] = "Terminating"

    def may_go(self, obj: Object) -> bool:
        return super().may_go(obj) and not obj.get("spec", {}).get("finalizers")


STRATEGIES: dict[str, type[Strategy]] = {"namespaces": NamespaceStrategy}
