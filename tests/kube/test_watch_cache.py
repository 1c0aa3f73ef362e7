"""Watches that end, break and come back; and those that do not."""

from __future__ import annotations

import threading
import time

import pytest

from kubereach.kube.client import ApiError
from kubereach.kube.watch_cache import WatchCache
from kubereach.model.errors import CannotMeasure, Unreachable


def pods(*names):
    items = [{"kind": "Pod", "metadata": {"namespace": "a", "name": name}} for name in names]
    return "LISTED", {"kind": "PodList", "items": items}


class Api:
    """Each watch does the next of `does`, the last one again and again; `None` is a watch that goes on."""

    def __init__(self, *does):
        self.does = list(does)
        self.watches = 0
        self.over = threading.Event()

    def watch(self, path, seconds, **query):
        self.watches += 1
        what = self.does.pop(0) if len(self.does) > 1 else self.does[0]
        if isinstance(what, Exception):
            raise what
        yield pods(*(what or ()))
        if what is None:
            self.over.wait(seconds)


@pytest.fixture
def watch_cache():
    made = []

    def make(*does, patience=60.0):
        made.append(WatchCache(Api(*does), "", patience))
        return made[-1]

    yield make
    for one in made:
        one.stop()
        one._api.over.set()


def test_watches_that_end_at_once_are_begun_anew_in_growing_pauses(watch_cache):
    made = watch_cache(["x"])
    made.follow("/pods")
    time.sleep(2)
    # after 0, 0.2, 0.6 and 1.4 s
    assert 2 <= made._api.watches <= 5
    assert made.get("Pod", "a", "x")


def test_a_watch_that_lasted_is_begun_anew_at_once(watch_cache, monkeypatch):
    monkeypatch.setattr("kubereach.kube.watch_cache._LASTED", 0.0)
    made = watch_cache(["x"])
    made.follow("/pods")
    time.sleep(0.2)
    assert made._api.watches > 5


@pytest.mark.parametrize(
    "error", [Unreachable("the API server cannot be reached"), ApiError(503, "", "busy", "GET /pods")]
)
def test_an_api_server_that_restarts_comes_back(watch_cache, error):
    made = watch_cache(["x"], error, error, ["x", "y"])
    made.follow("/pods")
    assert made.wait(lambda: made.get("Pod", "a", "y") is not None, 10)


def test_one_that_does_not_is_told_after_its_time_and_forgiven_when_it_does(watch_cache):
    error = Unreachable("the API server cannot be reached", "Is it up?")
    made = watch_cache(["x"], error, patience=0.5)
    made.follow("/pods")
    assert not made.wait(lambda: False, 0.2), "not yet"
    with pytest.raises(CannotMeasure, match="lost the watch of /pods: the API server cannot be reached"):
        made.wait(lambda: False, 10)
    made._api.does = [["y"]]
    deadline = time.monotonic() + 10
    while True:
        try:
            assert made.wait(lambda: made.get("Pod", "a", "y") is not None, 5)
            break
        except CannotMeasure:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_what_is_forbidden_is_told_at_once(watch_cache):
    forbidden = ApiError(403, "Forbidden", "pods is forbidden", "GET /pods")
    with pytest.raises(CannotMeasure, match=r"not allowed to watch the run's objects: .*pods is forbidden"):
        watch_cache(forbidden).follow("/pods")
    made = watch_cache(["x"], forbidden)
    made.follow("/pods")
    with pytest.raises(CannotMeasure, match="not allowed to watch"):
        made.wait(lambda: False, 10)


def test_a_mistake_of_ours_is_told_and_not_silent(watch_cache):
    made = watch_cache(["x"], KeyError("items"))
    made.follow("/pods")
    with pytest.raises(CannotMeasure, match="lost the watch of /pods: KeyError: 'items'"):
        made.wait(lambda: False, 10)


def test_who_looks_on_does_not_keep_the_board_from_its_work(watch_cache):
    made = watch_cache(["x"], ["x", "y"])

    def fail(*_):
        raise KeyError("ours")

    made.noticed = fail
    made.follow("/pods")
    assert made.wait(lambda: made.get("Pod", "a", "y") is not None, 10)
