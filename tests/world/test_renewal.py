"""When all is as it was before a check: what it made is gone, what it lent is back, nothing else was changed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kubereach.kube.client import ApiError
from kubereach.kube.endpointslices import SERVICE
from kubereach.kube.watch_cache import WatchCache
from kubereach.model.events import Changed
from kubereach.model.settings import Settings
from kubereach.world.renewal import renew


def obj(kind, name, **labels):
    return {"kind": kind, "metadata": {"name": name, "namespace": "a", "labels": labels}}


class Slow(WatchCache):
    """A watch cache from which something goes, or a label, each time that somebody waits."""

    def __init__(self, *objects):
        super().__init__(None, "")
        for one in objects:
            self._note("ADDED", one)
        self.going, self.waited = [], []

    def wait(self, done, seconds, beat=1.0):
        self.waited.append(seconds)
        while not super().wait(done, 0.0, beat):
            if not self.going:
                return False
            self._note("DELETED", self.going.pop(0))
        return True


class Api:
    def __init__(self, watch_cache, refuses=False):
        self.watch_cache, self.refuses, self.patched = watch_cache, refuses, []

    def patch(self, path, change):
        if self.refuses:
            raise ApiError(403, "Forbidden", "no", f"PATCH {path}")
        self.patched.append((path, change))
        name = path.rpartition("/")[2]
        self.watch_cache._note("MODIFIED", obj("Pod", name))


def world_of(*objects, lent=(), refuses=False):
    watch_cache = Slow(*objects)
    context = SimpleNamespace(settings=Settings(world_deadline=60))
    return SimpleNamespace(
        watch_cache=watch_cache, api=Api(watch_cache, refuses), context=context, lent=dict(lent)
    )


def changed(*texts):
    return [Changed(*text.split(" ", 1)) for text in texts]


def test_what_it_made_has_to_go_with_what_came_of_it():
    there = [
        obj("Service", "web"),
        obj("Deployment", "web"),
        obj("EndpointSlice", "web-x1", **{SERVICE: "web"}),
        obj("Pod", "web-5d9c-abcde"),
    ]
    world = world_of(*there, obj("Pod", "website-5d9c-abcde"), obj("EndpointSlice", "o-x", **{SERVICE: "o"}))
    made = changed(
        "create Service a/web",
        "create Deployment a/web",
        "patch Deployment a/web",
        "delete Pod a/web-5d9c-fghij",
    )
    why = renew(world, made)
    assert why == (
        "the deletion of Deployment a/web, EndpointSlice a/web-x1, Pod a/web-5d9c-abcde, Service "
        "a/web did not finish"
    )
    world.watch_cache.going = there
    assert renew(world, made) == ""
    assert world.watch_cache.waited == [60, 60]


def test_labels_that_it_lent_are_taken_back():
    pod = obj("Pod", "spare-1", **{"in-web": "yes", "in-other": "yes"})
    lent = {
        ("a", "spare-1", "in-web"): "web",
        ("a", "spare-1", "in-other"): "other",
        ("a", "gone", "in-web"): "web",
    }
    world = world_of(pod, lent=lent)
    assert renew(world, changed("create Service a/web", "patch Pod a/spare-1")) == ""
    assert world.api.patched == [
        ("/api/v1/namespaces/a/pods/spare-1", {"metadata": {"labels": {"in-web": None}}})
    ]
    world = world_of(pod, lent=lent, refuses=True)
    assert renew(world, changed("create Service a/web")).startswith("undoing it failed: ")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("unready Pod a/member-0", "the check changed Pod a/member-0"),
        ("delete Pod a/member-0", "the check changed Pod a/member-0"),
        ("patch Service a/nodeport", "the check changed Service a/nodeport"),
        ("patch Deployment a/backend", "the check changed Deployment a/backend"),
        ("create Ingress a/web", "kubereach does not track the deletion of Ingress a/web"),
    ],
)
def test_what_is_not_its_own_is_not_known_to_be_as_it_was(change, why):
    assert renew(world_of(), changed("create Service a/web", change)).startswith(why)


def test_who_changed_nothing_begins_anew_at_once():
    assert renew(world_of(), []) == ""
