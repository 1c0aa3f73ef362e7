"""Services and endpoints answer as a real API server and its controllers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .scenario import Scenario

CREATE = Scenario("service-create", "golden-svc")
ERRORS = Scenario("service-errors", "golden-svc", follows=CREATE)
UPDATES = Scenario("service-updates", "golden-svc", follows=ERRORS)


@pytest.mark.parametrize("scenario", [CREATE, ERRORS, UPDATES], ids=lambda s: s.name)
def test_services(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
