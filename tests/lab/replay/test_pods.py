"""Pods are defaulted, refused, run and ended as by a real API server and kubelet."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .scenario import Scenario

FORMS = Scenario(
    "pod-forms",
    "golden-pods",
    exceptions={"requests over limits (dry run)": "resources are not counted in the lab"},
)


@pytest.mark.parametrize("scenario", [FORMS], ids=lambda s: s.name)
def test_pods(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
