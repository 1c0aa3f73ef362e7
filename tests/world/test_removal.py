"""What is removed at the end, what is left is told with the reason; and what is a dead run's."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kubereach.kube.client import ApiError
from kubereach.model.errors import CannotMeasure
from kubereach.world import heartbeat
from kubereach.world.cleanup import remove_run
from kubereach.world.deletion import delete_all, not_removed, stuck
from kubereach.world.heartbeat import DEAD, RENEWED, dead, silence

FORBIDDEN = ApiError(403, "Forbidden", "namespaces is forbidden", "DELETE /x")


def obj(kind, name, namespace="", **meta):
    place = {"namespace": namespace} if namespace else {}
    version = "apps/v1" if kind == "Deployment" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place, **meta}}


class Cluster:
    """Objects by path; `refuses` are paths that cannot be deleted, `late` appears at the second listing of its kind."""

    threads = staticmethod(ThreadPoolExecutor)

    def __init__(self, *objects, refuses=(), late=()):
        self.objects = list(objects)
        self.refuses, self.late = refuses, list(late)
        self.deleted = []

    def items(self, path, **query):
        plural = path.rpartition("/")[2]
        found = [one for one in self.objects if one["kind"].lower() + "s" == plural]
        if plural == "pods":  # the last kind that is listed in a round
            self.objects += self.late
            self.late = []
        return found

    def watch(self, path, seconds, **query):
        while True:
            yield "LISTED", {"kind": f"{path.rpartition('/')[2].title()[:-1]}List", "items": self.items(path)}
            time.sleep(0.05)

    def delete(self, path, **options):
        if path in self.refuses:
            raise FORBIDDEN
        self.deleted.append(path)
        self.objects = [one for one in self.objects if not path.endswith(f"/{one['metadata']['name']}")]


def test_what_cannot_be_deleted_is_named_with_the_reason():
    cluster = Cluster(refuses=["/api/v1/namespaces/b"])
    left = delete_all(cluster, [obj("Namespace", "a"), obj("Namespace", "b")])
    assert left == ["Namespace b (namespaces is forbidden)"]
    assert cluster.deleted == ["/api/v1/namespaces/a"]
    error = not_removed(left, 60)
    assert isinstance(error, CannotMeasure) and error.exit_code == 3
    assert "left in the cluster after 60 s: Namespace b (namespaces is forbidden)" in error.message


def test_what_keeps_an_object():
    conditions = [
        {
            "type": "NamespaceFinalizersRemaining",
            "status": "True",
            "message": "example.com/hold in 1 resource",
        },
        {"type": "NamespaceContentRemaining", "status": "False", "message": "x"},
    ]
    namespace = obj("Namespace", "a", deletionTimestamp="2026-01-01T00:00:00Z")
    assert stuck({**namespace, "status": {"conditions": conditions}}) == (
        "Namespace a (example.com/hold in 1 resource)"
    )
    service = obj("Service", "s", "a", deletionTimestamp="x", finalizers=["service.kubernetes.io/lb"])
    assert stuck(service) == "Service a/s (finalizers: service.kubernetes.io/lb)"
    assert stuck(obj("Pod", "p", "a")) == "Pod a/p (its deletion has not begun)"


def test_the_config_map_of_a_run_goes_last():
    cluster = Cluster(obj("ConfigMap", "peer", "a"), obj("Deployment", "d", "a"), obj("Service", "s", "a"))
    assert remove_run(cluster, ["a"], "run", 10) == []
    assert cluster.deleted[-1] == "/api/v1/namespaces/a/configmaps/peer"
    assert len(cluster.deleted) == 3


def test_what_was_on_its_way_at_the_first_look_is_removed_too():
    late = obj("Service", "late", "a")
    cluster = Cluster(obj("ConfigMap", "peer", "a"), obj("Service", "s", "a"), late=[late])
    assert remove_run(cluster, ["a"], "run", 10) == []
    assert "/api/v1/namespaces/a/services/late" in cluster.deleted
    assert cluster.objects == []


def test_what_says_that_there_was_a_run_stays_with_what_is_left_of_it():
    path = "/apis/apps/v1/namespaces/a/deployments/d"
    cluster = Cluster(obj("ConfigMap", "peer", "a"), obj("Deployment", "d", "a"), refuses=[path])
    assert remove_run(cluster, ["a"], "run", 10) == ["Deployment a/d (namespaces is forbidden)"]
    assert not [path for path in cluster.deleted if "configmaps" in path], "the next run must find it"


# who is dead


def heard_of(when, value="1"):
    """A namespace whose renewal the server wrote down at `when`, seconds since the epoch."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    fields = {"f:metadata": {"f:annotations": {f"f:{RENEWED}": {}}}}
    other = {"f:status": {"f:phase": {}}}
    managed = [
        {"manager": "kubereach", "time": stamp, "fieldsV1": fields},
        {"manager": "kube-controller-manager", "time": "2026-12-01T00:00:00Z", "fieldsV1": other},
    ]
    return obj("Namespace", "x", annotations={RENEWED: value}, managedFields=managed)


def test_the_servers_clock_alone_says_how_long_a_run_has_been_silent():
    now = 1_700_000_000
    # a machine whose clock is years ahead, or behind, writes any value
    for value in ("1", "99999999999", "soon"):
        assert silence(heard_of(now - 5, value), now) == 5
        assert dead({"x": heard_of(now - 5, value)}, now, dict) == set()
        assert dead({"x": heard_of(now - DEAD - 5, value)}, now, dict) == {"x"}
    assert silence(obj("Namespace", "x", annotations={RENEWED: "1"}), now) is None
    assert silence(heard_of(now), None) is None


def test_where_it_says_nothing_a_run_is_dead_that_does_not_renew_while_we_look(monkeypatch):
    monkeypatch.setattr(heartbeat, "LOOK", 0.3)
    living, gone = (obj("Namespace", name, annotations={RENEWED: "1"}) for name in ("living", "gone"))
    kept = obj("Namespace", "kept")
    renewed = obj("Namespace", "living", annotations={RENEWED: "2"})
    there = {"living": renewed, "gone": gone, "kept": kept}
    waited = []

    def wait(seconds):
        waited.append(seconds)
        time.sleep(min(seconds, 0.1))

    assert dead({"living": living, "gone": gone, "kept": kept}, 1e12, lambda: there, wait) == {"gone"}
    assert waited
    waited.clear()
    assert dead({"living": living}, 1e12, lambda: there, wait) == set()
    assert dead({}, None, dict, wait) == dead({"kept": kept}, None, dict, wait) == set()
    assert len(waited) == 1, "a cluster without leftovers is not waited for"


def test_who_has_no_time_to_look_takes_nobody_for_dead():
    gone = {"gone": obj("Namespace", "gone", annotations={RENEWED: "1"})}
    assert dead(gone, None, lambda: gone, lambda _: True) == set()


@pytest.mark.parametrize("found", [{}, {"kept": obj("Namespace", "kept")}])
def test_no_thread_looks_where_there_is_nothing(found):
    class Api:
        def items(self, path, **query):
            return list(found.values())

    assert heartbeat.Leftovers(Api())._thread is None
