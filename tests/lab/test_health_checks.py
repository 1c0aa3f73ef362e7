"""Health-check node ports of the lab's service proxies."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from kubereach_lab.config import LabConfig
from kubereach_lab.proxy.healthcheck import HealthChecks


def test_a_request_that_is_under_way_when_its_service_goes_is_answered_with_nothing() -> None:
    """As kube-proxy does: 200, and no body (pkg/proxy/healthcheck, "closed healthcheck")."""
    host = cast(Any, SimpleNamespace(name="worker"))
    checks = HealthChecks(host, LabConfig(), lambda *_: None, last_node=False)
    answer = checks._service_check(("default", "gone"))
    response = cast(Any, asyncio.run(answer(cast(Any, None))))  # type: ignore[arg-type]
    assert (response.status, response.body) == (200, None)
