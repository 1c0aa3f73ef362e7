"""Hooks that the plugin calls: the seams for targets and worlds of another kind, used by our tests too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kubereach.kube.access import ClusterAccess
    from kubereach.model.events import Bus
    from kubereach.model.settings import Settings
    from kubereach.run.fixtures import WorldLike
    from kubereach.run.options import RunOptions
    from kubereach.targets.target import Target


@pytest.hookspec(firstresult=True)
def pytest_kubereach_options(config: pytest.Config) -> RunOptions | None:
    """Return the options of the run, or None to take pytest's, those that begin with --kubereach-."""


@pytest.hookspec(firstresult=True)
def pytest_kubereach_target(config: pytest.Config) -> Target | None:
    """Return the target to run on, or None to leave it to the options."""


@pytest.hookspec(firstresult=True)
def pytest_kubereach_world(
    config: pytest.Config,
    access: ClusterAccess,
    settings: Settings,
    bus: Bus,
    manifests: Path,
    services: Sequence[str],
) -> WorldLike | None:
    """Return the world that the checks run in, or None for `kubereach.world.World`."""
