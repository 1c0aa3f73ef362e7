"""The namespaces of a run: three of its own, or those that the user has given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubereach.kube.client import path_of
from kubereach.model.check import OTHER_NAMESPACE
from kubereach.model.errors import Unsupported
from kubereach.model.settings import Settings
from kubereach.world.manifests import Manifest

#: stands for a namespace that there is none of; no API server takes that for a name
_NONE = "-"
#: the name of the ConfigMap that is in each namespace of a run
PEER = "kubereach-peer"


@dataclass(frozen=True)
class Namespaces:
    """`services` is where Services and their pods are, `other` another one, `nodes` the node vantages'.

    With `given` they are the user's: they exist before the run and stay after it.
    """

    services: str
    other: str
    nodes: str
    given: bool = False

    @property
    def all(self) -> tuple[str, ...]:
        """Those that there are, each once."""
        return tuple(dict.fromkeys(n for n in (self.services, self.other, self.nodes) if n != _NONE))

    @property
    def no_other(self) -> str:
        """Why there is no other namespace; empty if there is one."""
        return f"--namespace names only {self.services}" if self.other == _NONE else ""

    @property
    def alive(self) -> list[str]:
        """The paths of what says, by an annotation, that the run lives."""
        if self.given:
            return [path_of(("v1", "ConfigMap"), name, PEER) for name in self.all]
        return [path_of(("v1", "Namespace"), name=name) for name in self.all]

    def collections(self, paths: Sequence[str]) -> list[str]:
        """Those of all namespaces, or as many for each given one: nothing else may be ours to see."""
        if not self.given:
            return list(paths)
        return [
            f"{path.rpartition('/')[0]}/namespaces/{name}/{path.rpartition('/')[2]}"
            for path in paths
            for name in self.all
        ]

    def fitting(self, manifests: Sequence[Manifest]) -> list[Manifest]:
        """What of the world itself goes into these namespaces: each object once, and no namespace that exists."""
        found: dict[tuple[str, str, str], Manifest] = {}
        for manifest in manifests:
            meta = manifest.obj["metadata"]
            if meta.get("namespace") != _NONE and not (self.given and manifest.kind == "Namespace"):
                found.setdefault((manifest.kind, meta.get("namespace", ""), meta["name"]), manifest)
        return list(found.values())

    def require(self, manifests: Sequence[Manifest]) -> None:
        """Raises `Unsupported` if an object is for a namespace that there is none of."""
        if any(manifest.obj["metadata"].get("namespace") == _NONE for manifest in manifests):
            raise Unsupported(self.no_other, feature=OTHER_NAMESPACE)


def of_run(settings: Settings, run: str) -> Namespaces:
    """The namespaces of the run called `run`."""
    given = settings.namespaces
    if not given:
        prefix = f"{settings.namespace_prefix}-{run}"
        return Namespaces(f"{prefix}-a", f"{prefix}-b", f"{prefix}-n")
    return Namespaces(given[0], given[1] if len(given) > 1 else _NONE, given[-1], given=True)
