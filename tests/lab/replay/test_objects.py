"""Namespaces, watches, selectors and discovery answer as a real API server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .scenario import Scenario

NAMESPACES = Scenario("namespaces", "golden-life", makes_namespace=False)
WATCH = Scenario("watch", "golden-watch")
DISCOVERY = Scenario("discovery")


@pytest.mark.parametrize("scenario", [NAMESPACES, WATCH, DISCOVERY], ids=lambda s: s.name)
def test_objects(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
