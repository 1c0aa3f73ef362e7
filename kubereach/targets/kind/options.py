"""The options of the kind target: pytest-kind's by its own names and with its meaning, and three more."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubereach.model.errors import UsageError
from kubereach.model.option import Option

#: what pytest-kind calls a cluster that nobody has named
DEFAULT_NAME = "pytest-kind"
PROXY_MODES = ("iptables", "ipvs", "nftables")

SHARED = (
    Option("cluster-name", f"name of the kind cluster (default: {DEFAULT_NAME})", metavar="NAME", shared=True),
    Option("keep-cluster", "keep the kind cluster after the run", "flag", shared=True),
    Option("kind-image", "node image of the kind cluster, such as kindest/node:TAG", metavar="IMAGE", shared=True),
    Option("kind-bin", "kind program to use (default: the one in PATH, else a download)", metavar="FILE", shared=True),
    Option(
        "kind-kubectl-bin",
        "kubectl program to use (default: the one in PATH, else a download)",
        metavar="FILE",
        shared=True,
    ),
)  # fmt: skip
OWN = (
    Option("kind-config", "kind configuration to use instead of manifests/kind.yaml", metavar="FILE"),
    Option("kind-proxy-mode", f"kube-proxy mode of the kind cluster: {', '.join(PROXY_MODES)}", metavar="MODE"),
)  # fmt: skip


@dataclass(frozen=True)
class KindChoice:
    """What was chosen of a kind cluster; None is what kind does by itself."""

    name: str = DEFAULT_NAME
    #: not deleted after the run
    keep: bool = False
    #: written instead of one of the run's own
    kubeconfig: Path | None = None
    image: str | None = None
    kind: Path | None = None
    kubectl: Path | None = None
    config: Path | None = None
    proxy_mode: str | None = None
    #: how many; None: as the configuration says
    nodes: int | None = None
    dual_stack: bool = False

    @property
    def shape(self) -> tuple[str, ...]:
        """The options, as given, that a cluster which is there already cannot follow any more."""
        return (
            *([f"--kind-config {self.config}"] if self.config else []),
            *([f"--kind-image {self.image}"] if self.image else []),
            *([f"--kind-proxy-mode {self.proxy_mode}"] if self.proxy_mode else []),
            *([f"--nodes {self.nodes}"] if self.nodes else []),
            *(["--dual-stack"] if self.dual_stack else []),
        )


def chosen(
    value_of: Callable[[str], Any], kubeconfig: Path | None, nodes: int | None, dual_stack: bool, keep: bool
) -> KindChoice:
    """The choice for ``--target kind``; to keep our objects is to keep the cluster. Raises `UsageError`."""

    def one(name: str) -> str | None:
        return str(value) if (value := value_of(_named(name).dest)) not in (None, "") else None

    def file(name: str) -> Path | None:
        given = one(name)
        path = Path(given).expanduser().absolute() if given else None
        if path is not None and not path.is_file():
            raise UsageError(f"--{name} {given}: the file does not exist", "Correct the path.")
        return path

    mode, config, name = one("kind-proxy-mode"), file("kind-config"), one("cluster-name") or DEFAULT_NAME
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise UsageError(
            f"--cluster-name {name}: not a valid name of a kind cluster",
            "Use lower-case letters, digits, - and dots.",
        )
    if mode and mode not in PROXY_MODES:
        raise UsageError(f"--kind-proxy-mode {mode}: unknown mode", f"Modes: {', '.join(PROXY_MODES)}.")
    if config and nodes:
        raise UsageError(
            "--nodes and --kind-config exclude each other: the file lists the nodes", "Leave out one or the other."
        )  # fmt: skip
    return KindChoice(
        name=name,
        keep=bool(value_of(_named("keep-cluster").dest)) or keep,
        kubeconfig=kubeconfig.absolute() if kubeconfig else None,
        image=one("kind-image"),
        kind=file("kind-bin"),
        kubectl=file("kind-kubectl-bin"),
        config=config,
        proxy_mode=mode,
        nodes=nodes,
        dual_stack=dual_stack,
    )


def refuse_elsewhere(value_of: Callable[[str], Any], options: tuple[Option, ...], target: str) -> None:
    """Raise `UsageError` for an option of a kind cluster where the target is another."""
    for option in options:
        if value_of(option.dest):
            raise UsageError(
                f"--{option.name} works with --target kind only, the target is {target}",
                "Add --target kind, or leave out the option.",
            )


def _named(name: str) -> Option:
    return next(option for option in (*SHARED, *OWN) if option.name == name)
