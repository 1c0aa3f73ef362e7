"""Deployments and the other workloads go their way as under real controllers."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .player import PATIENCE, Player
from .scenario import Object, Scenario


def _rolled_out(watch: int) -> Callable[[Player], None]:
    """Makes the Deployment that a watch begins with, and waits until it is available."""

    def make(player: Player) -> None:
        begun = time.monotonic()
        told = player.steps[watch]["response"]["events"][0]["object"]
        name = told["metadata"]["name"]
        player.lab.create(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": player.space},
                "spec": told["spec"],
            }
        )
        player.wait_for(
            f"/apis/apps/v1/namespaces/{player.space}/deployments",
            lambda found: "NewReplicaSetAvailable" in str(found),
            fieldSelector=f"metadata.name={name}",
        )
        # its process has begun when it answers, and ends then as it was written to
        (pod,) = player.wait_for(f"/api/v1/namespaces/{player.space}/pods", bool, labelSelector=f"app={name}")
        path = f"/api/v1/namespaces/{player.space}/pods/{pod['metadata']['name']}:8080/proxy/hostname"
        while player.http.get(path).is_error:
            assert time.monotonic() - begun < PATIENCE, f"{name} does not answer"

    return make


def _all_available(player: Player) -> None:
    """Waits until the Deployment d has all its replicas, as the next request did."""

    def holds(found: list[Object]) -> bool:
        return bool(found[0]["status"].get("availableReplicas") == found[0]["spec"]["replicas"])

    path = f"/apis/apps/v1/namespaces/{player.space}/deployments"
    player.wait_for(path, holds, fieldSelector="metadata.name=d")


_AT_ONCE = "the next request and the controllers, which act at once in the lab"
DEPLOYMENT = Scenario(
    "workload-deployment",
    "golden-work",
    before={10: _all_available, 36: _rolled_out(36), 43: _rolled_out(43), 50: _rolled_out(50)},
    closes={0: 31, 1: 31, 2: 31, 36: 43, 37: 43, 38: 43, 43: 50, 44: 50, 45: 50},
    at_once=frozenset({40}),
    races={
        2: "the start of each pod of a roll-out and its end",
        47: _AT_ONCE,
        54: _AT_ONCE,
    },
)
OTHERS = Scenario(
    "workload-others",
    "golden-work2",
    passing=frozenset({22, 25}),
    closes={18: 23},
    races={
        0: "the start of a pod's program, which then catches SIGTERM, and the scaling down that sends it",
        18: "the start of the DaemonSet's newest pods and the node selector that takes them away",
    },
)


@pytest.mark.parametrize("scenario", [DEPLOYMENT, OTHERS], ids=lambda s: s.name)
def test_workloads(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
