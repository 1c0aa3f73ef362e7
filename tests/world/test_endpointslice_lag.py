"""How long EndpointSlices lag behind the pods, as the watches tell it."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from kubereach.kube.client import Api
from kubereach.kube.watch_cache import WatchCache
from kubereach.world.endpointslice_lag import SliceLag

Object = dict[str, Any]


class Scene:
    """A watch cache that is told what happens, and a clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0
        self.watch_cache = WatchCache(cast("Api", None), "")
        self.lag = SliceLag(self.watch_cache, lambda: self.now)
        self.watch_cache.noticed = self.lag.noticed
        self.tell("Service", "web", spec={"selector": {"app": "web"}, "ipFamilies": ["IPv4"]})

    def tell(self, kind: str, name: str, labels: Object | None = None, **more: Any) -> None:
        meta = {"namespace": "n", "name": name, "labels": labels or {}}
        self.watch_cache._note("MODIFIED", {"kind": kind, "metadata": meta, **more})

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


def test_pods_that_come_and_go_and_are_each_listed_soon(scene: Scene) -> None:
    scene.pod("p1", "10.0.0.1")
    for number in range(2, 9):
        scene.now += 1
        # the next one is there before slices tell of the one before
        scene.pod(f"p{number}", f"10.0.0.{number}")
        scene.now += 0.1
        scene.listed(*(f"10.0.0.{n}" for n in range(1, number)))
    assert scene.lag.longest("n", "web") == pytest.approx(1.2)


def test_what_a_watch_saw_before_the_last_change_does_not_count(scene: Scene) -> None:
    """The watches of pods and of slices are threads of their own: the one that looks first may come to write last."""
    looked, listed = threading.Event(), threading.Event()
    found = scene.watch_cache.all

    def look(kind: str, namespace: str = "") -> list[Object]:
        objects = found(kind, namespace)
        if kind == "Pod" and threading.current_thread() is late:
            looked.set()
            listed.wait(0.5)
        return objects

    scene.watch_cache.all = look  # type: ignore[method-assign]
    late = threading.Thread(target=scene.pod, args=("a", "10.0.0.1"))
    late.start()
    assert looked.wait(5)
    scene.listed("10.0.0.1")
    listed.set()
    late.join()
    scene.now += 60
    assert scene.lag.longest("n", "web") == 0


def test_what_concerns_others_is_no_lag(scene: Scene) -> None:
    scene.pod("b", "10.0.0.2", app="other")
    scene.now += 60
    assert scene.lag.longest("n", "web") == 0
    assert scene.lag.longest("n", "nobody") == 0


def test_an_address_of_a_family_that_the_service_has_not_is_not_waited_for(scene: Scene) -> None:
    scene.pod("a", "fd00::1")
    scene.now += 60
    assert scene.lag.longest("n", "web") == 0
