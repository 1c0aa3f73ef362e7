"""Services and endpoints answer as a real API server and its controllers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .player import Player
from .scenario import Object, Scenario

_OWNERSHIP = (
    "a new resource version because other fields are owned (managedFields): field ownership is not the lab's"
)
CREATE = Scenario(
    "service-create",
    "golden-svc",
    ports={32123: 30001, 32222: 30002, 32130: 30003},
    exceptions={51: "the lab's cluster DNS serves no metrics: kube-dns has no such port and annotations"},
)
ERRORS = Scenario(
    "service-errors",
    "golden-svc",
    follows=CREATE,
    ports={32333: 30004, 32200: 30005},
    exceptions={
        "name ''": "the lab says that a name is required, and not what allocating an address without one leads to",
    },
)
UPDATES = Scenario(
    "service-updates",
    "golden-svc",
    follows=ERRORS,
    ports={32150: 30006},
    exceptions={
        "PUT ClusterIP to ExternalName without addresses": _OWNERSHIP,
        "headless PUT without clusterIP": _OWNERSHIP,
    },
)


def _touch(*ready: str, unready: str = "") -> Callable[[Player], None]:
    """Makes pods of the Deployment ready, by their recorded names, and one unready."""

    def act(player: Player) -> None:
        for name in ready:
            player.lab.exec(player.space, player.known(name), "touch", "/tmp/ready")
        if unready:
            player.lab.exec(player.space, player.known(unready), "rm", "/tmp/ready")

    return act


def _replaced(player: Player) -> None:
    """Waits until the deleted pod is gone and the one after it runs."""

    def holds(pods: list[Object]) -> bool:
        running = [p for p in pods if p["status"]["phase"] == "Running"]
        return len(pods) == len(running) == 3 and not any("deletionTimestamp" in p["metadata"] for p in pods)

    player.wait_for(f"/api/v1/namespaces/{player.space}/pods", holds)


DEPLOYMENT = Scenario(
    "endpoints-deployment",
    "golden-eps",
    passing=frozenset({12, 13, 15}),
    before={
        14: _replaced,
        8: _touch("d-7f54ff7d8b-4npl8", "d-7f54ff7d8b-fhlpd"),
        10: _touch("d-7f54ff7d8b-hbcgv", unready="d-7f54ff7d8b-4npl8"),
    },
    races={0: "a readiness probe that fails once its container stops, and the pod's end"},
)

_AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
_NEVER_READY = {"exec": {"command": ["false"]}, "periodSeconds": 1}


def _pod(name: str, app: str, container: Object | None = None, **spec: object) -> Object:
    serving = {"name": "c", "image": _AGNHOST, "args": ["netexec", "--http-port=8080"], **(container or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [serving], **spec},
    }


def _pods_of_all_kinds(player: Player) -> None:
    """The pods that the recorded answers show, made after the Services."""
    ending = {"command": ["sh", "-c", "sleep 0.5"], "args": [], "readinessProbe": _NEVER_READY}
    pods = [
        _pod("r1", "r"),
        _pod("r2", "r", {"readinessProbe": _NEVER_READY}),
        _pod("done", "r", ending, restartPolicy="Never"),
        _pod("n1", "n", {"ports": [{"name": "web", "containerPort": 8080}]}),
        _pod("n2", "n", {"ports": [{"name": "web", "containerPort": 9090}]}),
        _pod("n3", "n"),
        _pod("hn", "hn", {"args": ["netexec", "--http-port=18099"]}, hostNetwork=True),
        _pod("hsd", "hsd", hostname="hh", subdomain="hsd"),
        _pod("hsx", "hsd", hostname="hx", subdomain="other"),
    ]
    for pod in pods:
        pod["metadata"]["namespace"] = player.space
        player.lab.create(pod)
    player.wait_for(
        f"/api/v1/namespaces/{player.space}/pods",
        lambda found: (
            [p["metadata"]["name"] for p in found if p["status"]["phase"] == "Succeeded"] == ["done"]
        ),
    )


KINDS = Scenario("endpoints-kinds", "golden-eps2", before={8: _pods_of_all_kinds}, closes={54: 57})


@pytest.mark.parametrize("scenario", [CREATE, ERRORS, UPDATES, DEPLOYMENT, KINDS], ids=lambda s: s.name)
def test_services(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
