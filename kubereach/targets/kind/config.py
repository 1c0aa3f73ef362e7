"""The configuration that kind gets: the user's file or manifests/kind.yaml, changed by the options."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from kubereach.model.errors import UsageError
from kubereach.targets.kind.options import KindChoice
from kubereach.targets.yaml_file import mapping_in

_WORKER = {"role": "worker"}


def configuration(choice: KindChoice, default: Path) -> dict[str, Any]:
    """A kind configuration, as a mapping. Raises `UsageError` for a file that is none."""
    content = _read(choice.config or default)
    if choice.nodes:
        first = next((n for n in content.get("nodes") or [] if n.get("role") == "control-plane"), None)
        control_plane = first or {"role": "control-plane"}
        content["nodes"] = [control_plane, *[dict(_WORKER) for _ in range(choice.nodes - 1)]]
    networking = dict(content.get("networking") or {})
    if choice.proxy_mode:
        networking["kubeProxyMode"] = choice.proxy_mode
    if choice.dual_stack:
        networking["ipFamily"] = "dual"
    return {**content, "networking": networking} if networking else content


def leaves_the_network_to_others(content: dict[str, Any]) -> bool:
    """Whether nodes stay unready until somebody installs a network."""
    return bool((content.get("networking") or {}).get("disableDefaultCNI"))


def _read(file: Path) -> dict[str, Any]:
    content = mapping_in(
        file,
        "a kind configuration",
        unreadable="Name a kind configuration with --kind-config.",
        malformed="Correct it.",
    )
    if content is None or content.get("kind") != "Cluster":
        raise UsageError(
            f"{file}: not a kind configuration",
            "It needs kind: Cluster and apiVersion: kind.x-k8s.io/v1alpha4.",
        )
    return content


class Record:
    """What a cluster of ours was made with, beside its kubeconfig: a later run has to know whether it fits.

    It counts only for the very cluster that it was written for, told by its certificate authority.
    """

    def __init__(self, file: Path, cluster: str) -> None:
        self.file = file
        self._cluster = cluster

    def write(self, kubeconfig: Path, content: dict[str, Any], image: str | None) -> None:
        made = {"cluster": self._identity(kubeconfig), "image": image, "configuration": content}
        self.file.write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")

    def fits(self, kubeconfig: Path, content: dict[str, Any], image: str | None) -> bool:
        """Whether the cluster behind `kubeconfig` was made with exactly this."""
        try:
            made = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            return False
        return bool(made == {"cluster": self._identity(kubeconfig), "image": image, "configuration": content})

    def _identity(self, kubeconfig: Path) -> str:
        content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8")) or {}
        trusted = [
            str((entry.get("cluster") or {}).get("certificate-authority-data"))
            for entry in content.get("clusters") or []
            if entry.get("name") == self._cluster
        ]
        return hashlib.sha256("\n".join(trusted).encode()).hexdigest()
