"""The manifests of a run: the files of a folder, rendered with what the run knows."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from pathlib import Path

from kubereach.kube.nodes import pinned
from kubereach.preflight.pull_secret import name_in
from kubereach.probe import program
from kubereach.world.connection import Connection
from kubereach.world.manifests import MANAGED_BY, RUN, Manifest, pod_metadata, pod_spec, render
from kubereach.world.namespaces import Namespaces
from kubereach.world.own_ports import listener_if_any
from kubereach.world.sidecars import exempt

#: ports that a Service of a check has at most
_PORTS = 4


class RunManifests:
    """`folder` has the files of all runs, services/ those of Services, temporary/ those that single checks make."""

    def __init__(self, connection: Connection, namespaces: Namespaces, folder: Path) -> None:
        self._connection = connection
        self._namespaces = namespaces
        self.folder = folder
        #: the objects of this run, by labels
        self.labels = {MANAGED_BY: "kubereach", RUN: connection.run}
        #: port numbers of Services that checks make: each has its own, see `_render`
        first, last = connection.context.settings.port_range
        self._ports = itertools.cycle(_from_anywhere(range(first, last + 1 - _PORTS, _PORTS)))

    def base(self, file: str) -> list[Manifest]:
        """Objects that each run has."""
        return self._render(self.folder / file)

    def service(self, stem: str) -> list[Manifest]:
        """A Service that checks share, with what belongs to it."""
        return self._render(self.folder / "services" / f"{stem}.yaml")

    def temporary(self, stem: str, **variables: object) -> list[Manifest]:
        """A Service that a single check makes, with what belongs to it. Raises `UsageError`, as all the others."""
        return self._render(self.folder / "temporary" / f"{stem}.yaml", **variables)

    def _render(self, file: Path, **more: object) -> list[Manifest]:
        context, cluster = self._connection.context, self._connection.cluster
        variables: dict[str, object] = {
            "namespace": self._namespaces.services,
            "other_namespace": self._namespaces.other,
            "node_namespace": self._namespaces.nodes,
            "image": context.settings.image,
            "nonce": context.nonce,
            "secret": context.secret,
            "run": self._connection.run,
            "domain": cluster.domain,
            "ip_version": cluster.ip_version,
            "dns": cluster.dns_address or "192.0.2.53",
            "node_listener": listener_if_any(self._connection),
            "peer": program.files(),
            # An answer at a number that no other Service has is no other's: addresses are given again as soon as they
            # are free, also those of the run before, whose rules and tracked connections outlive it.
            "port": next(self._ports),
            **more,
        }
        manifests = render(file, variables, self.labels)
        if secret := context.settings.pull_secret[1]:
            for manifest in manifests:
                if manifest.kind == "ServiceAccount":
                    name_in(manifest.obj, secret)
        for manifest in manifests:
            if (pod := pod_spec(manifest.obj)) is not None:
                exempt(pod_metadata(manifest.obj))
                if cluster.left_out:
                    pinned(pod, [node.name for node in cluster.nodes])
        return manifests


def _from_anywhere(numbers: Sequence[int]) -> list[int]:
    """The numbers, beginning anywhere: no run takes those of the run before."""
    start = secrets.randbelow(len(numbers))
    return [*numbers[start:], *numbers[:start]]
