"""What a cluster can do, as far as it is known: the evidence stands beside every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class FeatureState:
    """Whether a feature is there, and how we know. `decided` is False while only a check can tell."""

    present: bool
    evidence: str
    decided: bool = True


class NodeFacts(Protocol):
    """What detection wants to know of a node."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> str: ...

    @property
    def addresses(self) -> tuple[str, ...]: ...


class ClusterFacts(Protocol):
    """What detection wants to know of a cluster."""

    @property
    def nodes(self) -> Sequence[NodeFacts]: ...

    @property
    def node_port_range(self) -> tuple[int, int] | None:
        """First and last node port; None where the cluster does not tell."""

    @property
    def findings(self) -> Mapping[str, FeatureState]: ...

    def describe(self) -> dict[str, object]: ...
