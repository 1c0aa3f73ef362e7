"""The fixtures of checks, made from what is there: the world's vantages, and one Service for every manifest.

They exist only in a pytest run that has collected a check: they never clash with another project's names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, methodcaller
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from kubereach.model.events import Changed
from kubereach.model.features import ClusterFacts

#: fixtures that are attributes of the world, with their docstrings
VANTAGES = {
    "cluster": "Facts about the cluster: nodes, version, DNS domain.",
    "pods": "Pods in the namespace of the Services, one on every node.",
    "other_pods": "Pods in another namespace, one on every node.",
    "nodes": "The nodes themselves: pods with hostNetwork, one on every node.",
    "outside": "The machine that runs pytest; with --outside-via a group that also has the additional "
    "outside vantages.",
}


#: the attribute of a fixture's function that holds what reads its value of a world
_READER = "__kubereach_reader__"


class WorldLike(Protocol):
    """What the plugin wants of a world; `kubereach.world.World` is the real one."""

    def connect(self) -> ClusterFacts: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def abandon(self) -> None: ...

    def renew(self, changes: Sequence[Changed]) -> str: ...

    def service(self, stem: str) -> Any: ...


def service_stems(manifests: Path) -> dict[str, str]:
    """The Services that have a manifest, by fixture: ``node_port`` for ``services/node-port.yaml``."""
    return {
        file.stem.replace("-", "_"): file.stem for file in sorted((manifests / "services").glob("*.yaml"))
    }


def reader_of(item: pytest.Function, name: str) -> Callable[[WorldLike], Any] | None:
    """What gives the value of the fixture `name` of a world; None if it is not one of ours for this item.

    A project may have a fixture of its own by that name, which then is the one that the item gets.
    """
    # pytest has no public way to ask before the setup which of several fixtures of one name an item gets
    found = item._fixtureinfo.name2fixturedefs.get(name) or ()
    return getattr(found[-1].func, _READER, None) if found else None


def make_fixtures(manifests: Path, world_of: Callable[[pytest.Config], WorldLike]) -> ModuleType:
    """A plugin module with all fixtures of checks; `world_of` gives the world once it has started."""
    module = ModuleType("kubereach fixtures")

    def add(name: str, documentation: str, read: Callable[[WorldLike], Any]) -> None:
        def value(request: pytest.FixtureRequest) -> Any:
            return read(world_of(request.config))

        value.__doc__ = documentation
        value.__name__ = name
        setattr(value, _READER, read)
        # scope `function` on purpose: what raises is told again to the next check that uses it
        setattr(module, name, pytest.fixture(name=name)(value))

    add("world", "The world that the checks run in, for checks that create objects.", lambda world: world)
    for attribute, documentation in VANTAGES.items():
        add(attribute, documentation, attrgetter(attribute))
    for name, stem in service_stems(manifests).items():
        if not hasattr(module, name):  # a manifest cannot take the name of a vantage
            add(name, f"The Service of manifests/services/{stem}.yaml.", methodcaller("service", stem))
    return module
