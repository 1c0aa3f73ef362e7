"""Deployments and the other workloads go their way as under real controllers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .scenario import Scenario

DEPLOYMENT = Scenario("workload-deployment", "golden-work")
OTHERS = Scenario("workload-others", "golden-work2")


@pytest.mark.parametrize("scenario", [DEPLOYMENT, OTHERS], ids=lambda s: s.name)
def test_workloads(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
