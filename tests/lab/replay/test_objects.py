"""Namespaces, watches, selectors and discovery answer as a real API server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .player import Player
from .scenario import Scenario


def _remember_the_beginning(player: Player) -> None:
    """What is asked for as the version before the objects of the recording."""
    listed = player.http.get(f"/api/v1/namespaces/{player.space}/configmaps").json()
    player.pairs.lab["revision", "27209"] = listed["metadata"]["resourceVersion"]


NAMESPACES = Scenario("namespaces", "golden-life", makes_namespace=False)
_CHANGES = "matches before and after: MODIFIED"
WATCH = Scenario(
    "watch",
    "golden-watch",
    prepare=_remember_the_beginning,
    closes=dict.fromkeys((3, 4, 5, 6, 7, 8, 11, 12, 14, 16, 17), _CHANGES),
    exceptions={
        13: "a bookmark comes once a minute, which the replay does not wait for",
        34: "the recorded request lacks the version and the selector that its answer shows",
    },
)
DISCOVERY = Scenario("discovery")


@pytest.mark.parametrize("scenario", [NAMESPACES, WATCH, DISCOVERY], ids=lambda s: s.name)
def test_objects(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
