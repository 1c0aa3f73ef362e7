"""The target that the options ask for. What only one target needs is imported with it alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kubereach.model.settings import Settings
from kubereach.run.catalogue import suites_folder
from kubereach.run.options import RunOptions
from kubereach.targets.kind.installed import require_pytest_kind
from kubereach.targets.target import Target

if TYPE_CHECKING:
    from kubereach.targets.lab import LabTarget


def target_of(options: RunOptions, settings: Settings, manifests: Path, say: Callable[[str], None]) -> Target:
    """A target that is not open yet; `say` gets the steps of one that takes its time, for people.

    Raises:
        CannotMeasure: the target is kind, and pytest-kind is not installed.
    """
    if options.target == "lab":
        return lab_of(options)
    if options.target == "kind":
        require_pytest_kind()
        from kubereach.targets.kind.target import KindTarget

        default = manifests / "kind.yaml"
        if not default.exists():  # a project with manifests of its own
            default = suites_folder(Path(__file__).parent).parent / "manifests/kind.yaml"
        return KindTarget(options.kind, settings, default, say)
    from kubereach.targets.existing import ExistingTarget

    return ExistingTarget(options.kubeconfig, options.context)


def lab_of(options: RunOptions) -> LabTarget:
    """A lab as the options ask for it, not started yet."""
    from kubereach.targets.lab import LabTarget

    return LabTarget(
        options.nodes,
        options.faults,
        ip_family=options.ip_family,
        dual_stack=options.dual_stack,
        proxy_mode=options.proxy_mode,
        version=options.kubernetes_version,
    )
