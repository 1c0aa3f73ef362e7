"""Why a pod does not start is told at once, and what is only slow is waited for."""

from __future__ import annotations

import pytest

from kubereach.kube.watch_cache import WatchCache, is_ready
from kubereach.model.errors import CannotMeasure
from kubereach.world.readiness import NEVER_READY, Readiness


class Events:
    """Stands in for the API where only events are asked for."""

    def __init__(self, *events):
        self.events = events

    def find(self, path, **query):
        assert path.endswith("/events") and query["fieldSelector"]
        return {"items": list(self.events)}


def pod(name, *, app="web", ready=False, phase="Pending", owned=True, waiting=None, **more):
    meta = {"name": name, "namespace": "a", "uid": name, "labels": {"app": app}}
    if owned:
        meta["ownerReferences"] = [{}]
    meta.update(more.pop("meta", {}))
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}], **more}
    if waiting:
        status["containerStatuses"] = [{"state": {"waiting": {"reason": waiting, "message": "because"}}}]
    return {"kind": "Pod", "metadata": meta, "spec": {}, "status": status}


def workload(kind, name, replicas=None, desired=None, **spec):
    body = {"template": {"spec": spec}}
    if replicas is not None:
        body["replicas"] = replicas
    status = {} if desired is None else {"desiredNumberScheduled": desired}
    return {"kind": kind, "metadata": {"name": name, "namespace": "a"}, "spec": body, "status": status}


def judge(*objects, events=(), begun=None, made=()):
    watch_cache = WatchCache(None, "")
    for obj in objects:
        watch_cache._note("ADDED", obj)
    readiness = Readiness(watch_cache, Events(*events), made)
    if begun is not None:
        readiness._begun -= begun
    return readiness


def look(readiness):
    """One look at the pods, for something that does not come."""
    assert not readiness.wait(lambda: False, 0)


def test_counts():
    readiness = judge(
        workload("DaemonSet", "web", desired=2),
        workload("StatefulSet", "db", replicas=2),
        pod("web-1", ready=True),
        pod("web-2"),
        pod("db-0", app="db", ready=True),
        pod("alone", app="", owned=False, ready=True),
        pod("never", app="", owned=False, phase="Running", meta={"annotations": {NEVER_READY: "true"}}),
    )
    assert readiness.counts() == (4, 6)


def test_what_a_late_watch_has_not_told_of_is_not_ready():
    bare, daemons = pod("bare", owned=False, ready=True), workload("DaemonSet", "web", desired=1)
    assert judge(bare).counts() == (1, 1)
    late = judge(bare, made=[bare, daemons, {"kind": "Service", "metadata": {"name": "s", "namespace": "a"}}])
    assert late.counts() == (1, 2)
    late._watch_cache._note("ADDED", daemons)
    assert late.counts() == (1, 2), "its pod is still missing"


def test_workloads_that_no_controller_has_looked_at():
    seen = workload("DaemonSet", "seen", desired=0)
    seen["status"]["observedGeneration"] = 1
    readiness = judge(seen, workload("DaemonSet", "web"), workload("StatefulSet", "db", replicas=1))
    assert readiness.unobserved() == ["DaemonSet a/web", "StatefulSet a/db"]


def looked_at(*objects):
    for obj in objects:
        obj["status"]["observedGeneration"] = 1
    return judge(*objects, pod("web-1", ready=True), pod("web-2"))


def test_each_step_on_the_way_to_ready_pods_is_told_once():
    told = []
    readiness = looked_at(workload("DaemonSet", "web", desired=2))

    def wait(done, *_):
        return done() or done()

    readiness._watch_cache.wait = wait
    with pytest.raises(CannotMeasure, match="1 of 2 pods are ready after 0 s; waiting for web-2"):
        readiness.wait_for_all(0.1, told.append)
    assert told == ["waiting for 2 pods: 1 ready"]


def test_pods_that_are_all_ready_are_waited_for_no_longer():
    told = []
    looked_at(workload("DaemonSet", "web", desired=1)).wait_for_all(0.0, told.append)
    assert told == ["waiting for 1 pods: 1 ready"]


def test_a_workload_that_no_controller_has_looked_at_is_named():
    readiness = judge(workload("DaemonSet", "web"))
    with pytest.raises(CannotMeasure, match="no controller has processed DaemonSet a/web within 0 s"):
        readiness.wait_for_all(0.0, lambda _: None)


def test_a_daemonset_that_its_controller_has_not_seen_is_not_ready():
    ready, wanted = judge(workload("DaemonSet", "web")).counts()
    assert ready < wanted


def test_a_pod_on_its_way_out_is_not_ready():
    assert not is_ready(pod("a", ready=True, meta={"deletionTimestamp": "now"}))


@pytest.mark.parametrize(
    "reason",
    [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CrashLoopBackOff",
    ],
)
def test_hopeless_pods_end_the_wait(reason):
    with pytest.raises(CannotMeasure, match=f"a/web-1 cannot start: {reason}: because") as error:
        look(judge(pod("web-1", waiting=reason)))
    assert error.value.remedy


def test_creating_containers_is_not_hopeless():
    look(judge(pod("web-1", waiting="ContainerCreating")))


def test_unschedulable_gets_some_seconds():
    stuck = pod("web-1")
    stuck["status"]["conditions"] = [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available",
        }
    ]
    readiness = judge(stuck)
    look(readiness)
    readiness._unschedulable["web-1"] -= 60
    with pytest.raises(CannotMeasure, match="0/3 nodes are available"):
        look(readiness)


def test_who_finds_a_node_after_all_has_all_its_seconds_again():
    def one(reason):
        return pod("web-1", conditions=[{"type": "PodScheduled", "status": "?", "reason": reason}])

    readiness = judge(one("Unschedulable"))
    look(readiness)
    readiness._unschedulable["web-1"] -= 60
    for reason in ("", "Unschedulable"):
        readiness._watch_cache._note("MODIFIED", one(reason))
        look(readiness)


def test_while_something_else_is_waited_for_pods_that_cannot_start_end_it():
    readiness = judge(pod("web-1", waiting="ImagePullBackOff"))
    assert readiness.wait(lambda: True, 60), "what is so already is not judged any more"
    with pytest.raises(CannotMeasure, match="ImagePullBackOff"):
        readiness.wait(lambda: False, 60)
    some = (workload("Deployment", "web", replicas=2), pod("web-1", ready=True))
    with pytest.raises(CannotMeasure, match="exceeded quota: small"):
        judge(*some, events=[forbidden("web-5d4f8")], begun=10).wait(lambda: False, 60)


def forbidden(name, why="exceeded quota: small"):
    return {
        "involvedObject": {"name": name},
        "reason": "FailedCreate",
        "message": f'pods "{name}-x" is forbidden: {why}',
    }


def test_quota_and_admission_are_told():
    with pytest.raises(CannotMeasure, match="exceeded quota: small"):
        judge(workload("DaemonSet", "web"), events=[forbidden("web")], begun=10).stuck()


def test_a_quota_that_lets_some_pods_in_is_told_too():
    some = (workload("DaemonSet", "web", desired=3), pod("web-1", ready=True))
    judge(*some, events=[forbidden("web")], begun=3).stuck()
    with pytest.raises(CannotMeasure, match="exceeded quota: small") as error:
        judge(*some, events=[forbidden("web")], begun=10).stuck()
    assert "kubectl describe resourcequota -n a" in error.value.remedy
    judge(workload("DaemonSet", "web", desired=1), pod("web-1"), events=[forbidden("web")], begun=10).stuck()


def test_a_replica_set_that_may_make_no_pods_is_told():
    readiness = judge(workload("Deployment", "web", replicas=1), events=[forbidden("web-5d4f8")], begun=10)
    with pytest.raises(CannotMeasure, match="cannot create the pods of a/web"):
        readiness.stuck()


@pytest.mark.parametrize(
    "why", ["exec /usr/bin/python3: exec format error", "no match for platform in manifest"]
)
def test_an_image_of_another_architecture_is_told(why):
    one = pod("web-1", waiting="CrashLoopBackOff")
    one["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"message": why}}
    with pytest.raises(CannotMeasure, match=why) as error:
        look(judge(one))
    assert "image_architectures" in error.value.remedy


def test_host_network_that_is_forbidden_is_a_missing_feature():
    refused = forbidden("node", 'violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)')
    readiness = judge(workload("DaemonSet", "node", hostNetwork=True), events=[refused], begun=10)
    readiness.stuck()
    assert "forbidden" in readiness.forbidden[("a", "node")]
    assert readiness.counts() == (0, 0)


def test_a_quota_says_nothing_of_the_host_network():
    readiness = judge(workload("DaemonSet", "node", hostNetwork=True), events=[forbidden("node")], begun=10)
    with pytest.raises(CannotMeasure, match="exceeded quota: small"):
        readiness.stuck()


def test_a_new_list_replaces_what_was_there():
    watch_cache = WatchCache(None, "")
    watch_cache._note("ADDED", pod("a"))
    watch_cache._note("LISTED", {"kind": "PodList", "items": [pod("b")]})
    assert [p["metadata"]["name"] for p in watch_cache.all("Pod")] == ["b"]
    watch_cache._note("DELETED", pod("b"))
    assert watch_cache.all("Pod") == []
