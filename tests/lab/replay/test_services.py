"""Services and endpoints answer as a real API server and its controllers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .scenario import Scenario

_OWNERSHIP = (
    "a new resource version because other fields are owned (managedFields): field ownership is not the lab's"
)
CREATE = Scenario(
    "service-create",
    "golden-svc",
    exceptions={51: "the lab's cluster DNS serves no metrics: kube-dns has no such port and annotations"},
)
ERRORS = Scenario(
    "service-errors",
    "golden-svc",
    follows=CREATE,
    exceptions={
        "name ''": "the lab says that a name is required, and not what allocating an address without one leads to",
    },
)
UPDATES = Scenario(
    "service-updates",
    "golden-svc",
    follows=ERRORS,
    exceptions={
        "PUT ClusterIP to ExternalName without addresses": _OWNERSHIP,
        "headless PUT without clusterIP": _OWNERSHIP,
    },
)


@pytest.mark.parametrize("scenario", [CREATE, ERRORS, UPDATES], ids=lambda s: s.name)
def test_services(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
