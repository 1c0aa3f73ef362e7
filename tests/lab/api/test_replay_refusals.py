"""Pods, workloads and selectors are refused and defaulted as by a real API server: the recorded dry runs and errors."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from . import replay
from .conftest import Server

#: what the lab lets pass, by the note of the step -> why
_OTHERWISE = {
    "requests over limits (dry run)": "resources are not counted in the lab",
    "bad continue token": "the text is Go's about a byte of the token",
}


def _is_dry_run(step: dict[str, Any]) -> bool:
    return "dryRun" in (step["request"].get("query") or {}) and step["request"]["method"] == "POST"


def _is_refused_query(step: dict[str, Any]) -> bool:
    return step["request"]["method"] == "GET" and step["response"].get("status") in (400, 422)


@pytest.mark.parametrize(
    ("recording", "namespace_name", "chosen"),
    [
        ("pod-forms", "golden-pods", _is_dry_run),
        ("workload-deployment", "golden-work", _is_dry_run),
        ("pod-selectors", "golden-sel", _is_refused_query),
    ],
)
def test_refusals(
    recording: str, namespace_name: str, chosen: Any, server: Server, http: httpx.Client
) -> None:
    def prepare() -> None:
        server.registry.create("namespaces", {"metadata": {"name": namespace_name}})

    server.call(prepare)
    steps = [step for step in replay.load(recording) if chosen(step) and step.get("note") not in _OTHERWISE]
    assert len(steps) > 5, "the recording has no such steps: the test would be empty"
    played = replay.Replay(http)
    found = [f"{replay.label(step)}\n      {text}" for step in steps for text in played.play(step)]
    assert not found, f"{len(found)} differences:\n  " + "\n  ".join(found)
