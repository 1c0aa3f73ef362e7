"""Namespaces, watches, selectors and discovery answer as a real API server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .player import Player
from .scenario import Part, Scenario


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
    races={8: "the end of the request's time, and the client that goes"},
    exceptions={34: "the recorded request lacks the version and the selector that its answer shows"},
    parts={13: Part("not the bookmark that comes once a minute", frozenset({"BOOKMARK"}))},
)
_SERVED = Part("the kinds that the lab serves")
DISCOVERY = Scenario(
    "discovery",
    exceptions={
        21: "the checks behind /readyz?verbose are the cluster's own",
        23: "the lab has no /openapi/v2, which nothing reads that knows /openapi/v3",
    },
    parts={
        0: Part("not which build it is", frozenset({"gitCommit", "goVersion", "compiler", "buildDate"})),
        **dict.fromkeys((2, 3, 7, 9, 10, 13, 22), _SERVED),
        24: _SERVED,
        25: Part("of the schema what kubectl asks for", frozenset({"operationId", "schema"})),
    },
)


def _seven_pods(player: Player) -> None:
    """p0 to p6 as the README of the recordings describes them, where the recorded ones were; p6 cannot be placed."""
    nodes = player.lab.config.node_names
    for number in range(7):
        labels = {"app": "a" if number < 4 else "b", "n": str(number)} | (
            {"odd": "yes"} if number % 2 else {}
        )
        place = (
            {"nodeName": nodes[1 if number in (0, 3, 5) else 2]}
            if number < 6
            else {"nodeSelector": {"no": "such"}}
        )
        image = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
        container = {"name": "c", "image": image, "args": ["pause"]}
        player.lab.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"p{number}", "namespace": player.space, "labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **place},
            }
        )
    player.wait_for(
        f"/api/v1/namespaces/{player.space}/pods",
        lambda pods: sum(pod["status"]["phase"] == "Running" for pod in pods) == 6,
    )


def _evicted(player: Player) -> None:
    """Waits until the evicted pod is gone."""
    path = f"/api/v1/namespaces/{player.space}/pods"
    player.wait_for(path, lambda pods: not pods, fieldSelector="metadata.name=p0")


SELECTORS = Scenario(
    "pod-selectors",
    "golden-sel",
    prepare=_seven_pods,
    before={63: _evicted},
    passing=frozenset({57}),
    exceptions={"bad continue token": "the text is Go's about a byte of the token"},
)


@pytest.mark.parametrize("scenario", [NAMESPACES, WATCH, SELECTORS, DISCOVERY], ids=lambda s: s.name)
def test_objects(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
