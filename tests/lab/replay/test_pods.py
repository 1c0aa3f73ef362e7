"""Pods are defaulted, refused, run and ended as by a real API server and kubelet."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from lab_access import is_ready

from .player import PATIENCE, Player
from .scenario import Object, Part, Scenario

_AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
_SERVING: Object = {"name": "c", "image": _AGNHOST, "args": ["netexec", "--http-port=8080"]}
_DEAF: Object = {
    "name": "c",
    "image": _AGNHOST,
    "command": ["sh", "-c", 'trap "" TERM; while true; do sleep 1; done'],
}


def _make(
    player: Player, name: str, *containers: Object, labels: Object | None = None, **spec: object
) -> None:
    player.lab.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": player.space, **({"labels": labels} if labels else {})},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers), **spec},
        }
    )


def _await(player: Player, name: str, holds: Callable[[Object], bool]) -> None:
    path = f"/api/v1/namespaces/{player.space}/pods"
    player.wait_for(path, lambda pods: all(map(holds, pods)), fieldSelector=f"metadata.name={name}")


def _phase(phase: str) -> Callable[[Object], bool]:
    return lambda pod: bool(pod["status"]["phase"] == phase)


def _from_now_on(recorded: str) -> Callable[[Player], None]:
    """A recorded version of some moment before a watch is that of the present."""

    def remember(player: Player) -> None:
        listed = player.http.get(f"/api/v1/namespaces/{player.space}/pods").json()
        player.pairs.lab["revision", recorded] = listed["metadata"]["resourceVersion"]

    return remember


def _on(player: Player, command: str) -> None:
    player.lab.exec(player.space, "rp", *command.split())


def _answers(name: str) -> Callable[[Player], None]:
    """Waits until a pod answers, when it has begun to heed signals."""

    def wait(player: Player) -> None:
        begun = time.monotonic()
        path = f"/api/v1/namespaces/{player.space}/pods/{name}:8080/proxy/hostname"
        while player.http.get(path).is_error:
            assert time.monotonic() - begun < PATIENCE, f"{name} does not answer"

    return wait


_DIFF = Part("not the server's own view of the change, in its internal names", cut="\n@@")
LIFE = Scenario(
    "pod-life",
    "golden-pods",
    before={10: _answers("life")},
    passing=frozenset({11}),
    parts={7: _DIFF, 8: _DIFF},
    races={12: "the next request and the kubelet, which tells that it saw the deletion"},
)


def _rp_ends(player: Player) -> None:
    _answers("rp")(player)
    player.lab.delete(f"/api/v1/namespaces/{player.space}/pods/rp")


READINESS = Scenario(
    "pod-readiness",
    "golden-pods",
    before={
        3: lambda player: _on(player, "touch /tmp/ready"),
        4: lambda player: _on(player, "rm /tmp/ready"),
        5: _rp_ends,
    },
)


def _deaf_pods(player: Player) -> None:
    """Pods whose process ignores SIGTERM."""
    for name in ("g0", "g5", "g1", "dflt"):
        _make(player, name, _DEAF, terminationGracePeriodSeconds=3 if name == "dflt" else 30)
    for name in ("g0", "g5", "g1", "dflt"):
        _await(player, name, is_ready)


def _finalized(player: Player) -> None:
    _answers("fin")(player)
    _await(player, "fin", is_ready)
    _from_now_on("26859")(player)


DELETE = Scenario(
    "pod-delete",
    "golden-pods",
    prepare=_deaf_pods,
    before={
        0: _from_now_on("26503"),
        2: _from_now_on("26515"),
        6: _from_now_on("26724"),
        8: _from_now_on("26780"),
        14: _finalized,
    },
)
FORMS = Scenario("pod-forms", "golden-pods")


def _proxied(player: Player) -> None:
    """The pods px and exq, and the Services px and pxe."""
    _make(player, "px", _SERVING, labels={"app": "px"})
    _make(player, "exq", _SERVING, nodeSelector={"no": "such"})
    for name in ("px", "pxe"):
        ports = [{"name": "web", "port": 80, "targetPort": 8080}]
        service = {"metadata": {"name": name, "namespace": player.space}, "spec": {"selector": {"app": name}}}
        service["spec"]["ports"] = ports
        player.lab.create({"apiVersion": "v1", "kind": "Service", **service})
    _await(player, "px", is_ready)


_PAUSING: Object = {"image": _AGNHOST, "args": ["pause"]}


def _spoken_to(player: Player) -> None:
    """The pods ex, two, dead and exq."""
    _make(player, "ex", _SERVING)
    _make(player, "two", _PAUSING | {"name": "a"}, _PAUSING | {"name": "b"})
    _make(player, "dead", {"name": "c", "image": _AGNHOST, "command": ["true"]}, restartPolicy="Never")
    _make(player, "exq", _SERVING, nodeSelector={"no": "such"})
    for name, holds in {"ex": is_ready, "two": is_ready, "dead": _phase("Succeeded")}.items():
        _await(player, name, holds)
    _answers("ex")(player)


EXEC = Scenario(
    "pod-exec",
    "golden-pods",
    prepare=_spoken_to,
    races={12: "the size that is sent and the command that asks for it; and the number of the terminal"},
)

_SPEAKING = (
    "for i in 1 2 3 4 5; do echo line $i; done; sleep 0.1; echo err >&2; sleep 3; echo late; exec sleep 1000"
)


def _logging(player: Player) -> None:
    """The pods lg, two, dead and exq."""
    _spoken_to(player)
    _make(player, "lg", {"name": "c", "image": _AGNHOST, "command": ["sh", "-c", _SPEAKING]})
    _await(player, "lg", is_ready)


def _silent_for_a_second(player: Player) -> None:
    begun = time.monotonic()
    path = f"/api/v1/namespaces/{player.space}/pods/lg/log"
    while player.http.get(path, params={"sinceSeconds": "1"}).text:
        assert time.monotonic() - begun < PATIENCE


LOGS = Scenario("pod-logs", "golden-pods", prepare=_logging, before={6: _silent_for_a_second})
TROUBLE = Scenario(
    "pod-trouble",
    "golden-pods",
    closes={number: number + 2 for number in range(0, 28, 2)} | {6: 54},
    passing=frozenset({36, 38, 39, 40, 46, 47, 48, 49, 50, 51, 52, 53, 54}),
    exceptions={58: "crash is told to be in back-off at once, not when the kubelet looks at it again"},
)
PROXY = Scenario("pod-proxy", "golden-pods", prepare=_proxied)


@pytest.mark.parametrize(
    "scenario", [LIFE, READINESS, DELETE, FORMS, EXEC, LOGS, PROXY, TROUBLE], ids=lambda s: s.name
)
def test_pods(scenario: Scenario, replayed: Callable[[Scenario], None]) -> None:
    replayed(scenario)
