"""How long EndpointSlices lag behind the pods, as the watches tell it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from kubereach.api import Api
from kubereach.world.board import Board
from kubereach.world.lag import SliceLag

Object = dict[str, Any]


class Scene:
    """A board that is told what happens, and a clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0
        self.board = Board(cast("Api", None), "")
        self.lag = SliceLag(self.board, lambda: self.now)
        self.board.noticed = self.lag.noticed
        self.tell("Service", "web", spec={"selector": {"app": "web"}, "ipFamilies": ["IPv4"]})

    def tell(self, kind: str, name: str, labels: Object | None = None, **more: Any) -> None:
        meta = {"namespace": "n", "name": name, "labels": labels or {}}
        self.board._note("MODIFIED", {"kind": kind, "metadata": meta, **more})

    def pod(self, name: str, ip: str, ready: bool = True, app: str = "web") -> None:
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        self.tell(
            "Pod", name, {"app": app}, status={"podIPs": [{"ip": ip}], "conditions": conditions}, spec={}
        )

    def listed(self, *addresses: str) -> None:
        endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
        self.tell("EndpointSlice", "web-1", {"kubernetes.io/service-name": "web"}, endpoints=endpoints)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_pod_that_is_listed_at_last(scene: Scene) -> None:
    scene.pod("a", "10.0.0.1")
    scene.now += 8
    assert scene.lag.longest("n", "web") == 8
    scene.listed("10.0.0.1")
    scene.now += 100
    assert scene.lag.longest("n", "web") == 8


def test_a_pod_that_is_no_longer_ready_and_still_listed(scene: Scene) -> None:
    scene.pod("a", "10.0.0.1")
    scene.listed("10.0.0.1")
    scene.pod("a", "10.0.0.1", ready=False)
    scene.now += 5
    scene.listed()
    assert scene.lag.longest("n", "web") == 5


def test_a_pod_that_has_lost_its_label(scene: Scene) -> None:
    scene.pod("a", "10.0.0.1")
    scene.listed("10.0.0.1")
    scene.pod("a", "10.0.0.1", app="other")
    scene.now += 4
    scene.listed()
    assert scene.lag.longest("n", "web") == 4


def test_what_concerns_others_is_no_lag(scene: Scene) -> None:
    scene.pod("b", "10.0.0.2", app="other")
    scene.now += 60
    assert scene.lag.longest("n", "web") == 0
    assert scene.lag.longest("n", "nobody") == 0


def test_an_address_of_a_family_that_the_service_has_not_is_not_waited_for(scene: Scene) -> None:
    scene.pod("a", "fd00::1")
    scene.now += 60
    assert scene.lag.longest("n", "web") == 0
