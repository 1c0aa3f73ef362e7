"""The controllers: workloads roll out, scale and go as in a real cluster; allocation refuses what is taken."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import httpx
import life
import pytest
from lab_access import PATIENCE, LabAccess, Object, is_ready

SELECTOR = {"app": "w"}


def workload(kind: str, **spec: Any) -> Object:
    """A Deployment, StatefulSet or DaemonSet ``w`` of sleeping pods."""
    container = {"name": "c", "image": "busybox:1", "command": ["sleep", "1000"]}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "w"},
        "spec": {
            "selector": {"matchLabels": SELECTOR},
            "template": {"metadata": {"labels": SELECTOR}, "spec": pod},
            **spec,
        },
    }


def create(lab: LabAccess, space: str, obj: Object) -> Object:
    obj["metadata"]["namespace"] = space
    return lab.create(obj)


def at(space: str, plural: str, name: str = "") -> str:
    group = {"pods": "/api/v1", "services": "/api/v1"}.get(plural, "/apis/apps/v1")
    return f"{group}/namespaces/{space}/{plural}" + (f"/{name}" if name else "")


def rolled_out(found: list[Object]) -> bool:
    """What ``kubectl rollout status`` waits for."""
    if not found:
        return False
    (one,) = found
    spec, status = one["spec"], one.get("status", {})
    return (
        status.get("observedGeneration") == one["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == spec["replicas"]
        and status.get("availableReplicas", 0) == spec["replicas"]
    )


def new_image(image: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{**CONTAINER, "image": image}]}}}}


CONTAINER = workload("Deployment")["spec"]["template"]["spec"]["containers"][0]


def test_a_rolling_update_keeps_within_its_bounds(lab: LabAccess, space: str) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    create(lab, space, workload("Deployment", replicas=4, strategy=strategy))
    lab.wait(at(space, "deployments"), rolled_out)
    begin = lab.get(at(space, "pods"))
    pods = {p["metadata"]["name"]: p for p in begin["items"]}
    lab.patch(at(space, "deployments", "w"), new_image("busybox:2"))
    most, least = 0, 4
    for event in lab.watch(at(space, "pods"), {"resourceVersion": begin["metadata"]["resourceVersion"]}):
        pod = event["object"]
        if event["type"] == "DELETED":
            pods.pop(pod["metadata"]["name"], None)
        else:
            pods[pod["metadata"]["name"]] = pod
        alive = [p for p in pods.values() if "deletionTimestamp" not in p["metadata"]]
        most = max(most, len(alive))
        least = min(least, sum(map(is_ready, alive)))
        images = Counter(p["spec"]["containers"][0]["image"] for p in pods.values())
        if images == {"busybox:2": 4} and all(map(is_ready, alive)):
            break
    assert (most, least) == (5, 4)
    lab.wait(at(space, "deployments"), rolled_out)


def test_scale_and_roll_back(lab: LabAccess, space: str) -> None:
    create(lab, space, workload("Deployment", replicas=2))
    lab.wait(at(space, "deployments"), rolled_out)
    lab.patch(at(space, "deployments", "w") + "/scale", {"spec": {"replicas": 4}})
    lab.ready_pods(space, 4)
    lab.patch(at(space, "deployments", "w"), {"spec": {"replicas": 1}})
    lab.ready_pods(space, 1)
    first = lab.get(at(space, "replicasets"))["items"][0]["metadata"]["name"]
    for image, sets, revision in (("busybox:2", 2, "2"), ("busybox:1", 2, "3")):
        lab.patch(at(space, "deployments", "w"), new_image(image))
        lab.wait(
            at(space, "deployments"),
            lambda found, revision=revision: (  # type: ignore[misc]
                found[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == revision
                and rolled_out(found)
            ),
        )
        assert len(lab.get(at(space, "replicasets"))["items"]) == sets
    (pod,) = lab.ready_pods(space, 1)
    assert pod["metadata"]["ownerReferences"][0]["name"] == first
    conditions = {
        c["type"]: c["reason"] for c in lab.get(at(space, "deployments", "w"))["status"]["conditions"]
    }
    assert conditions == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}


def test_a_lost_pod_is_replaced(lab: LabAccess, space: str) -> None:
    create(lab, space, workload("Deployment", replicas=2))
    before = {p["metadata"]["name"] for p in lab.ready_pods(space, 2)}
    lab.delete(at(space, "pods", min(before)))
    lab.wait(
        at(space, "pods"),
        lambda pods: (
            sum(map(is_ready, pods)) == 2 and min(before) not in {p["metadata"]["name"] for p in pods}
        ),
    )


def test_a_stateful_set_goes_one_by_one(lab: LabAccess, space: str) -> None:
    begin = lab.get(at(space, "pods"))["metadata"]["resourceVersion"]
    create(lab, space, workload("StatefulSet", replicas=3, serviceName="w"))
    pods = {p["metadata"]["name"]: p for p in lab.ready_pods(space, 3)}
    assert sorted(pods) == ["w-0", "w-1", "w-2"]
    order = order_of_events(lab, space, begin, 3)
    assert order == ["+w-0", "ready w-0", "+w-1", "ready w-1", "+w-2", "ready w-2"]
    assert pods["w-1"]["spec"]["hostname"] == "w-1" and pods["w-1"]["spec"]["subdomain"] == "w"
    assert pods["w-1"]["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    # an update replaces them from the highest down, each with its own name
    lab.patch(at(space, "statefulsets", "w"), new_image("busybox:2"))
    lab.wait(
        at(space, "pods"),
        lambda now: sum(is_ready(p) and p["spec"]["containers"][0]["image"] == "busybox:2" for p in now) == 3,
    )
    times = {p["metadata"]["name"]: int(p["metadata"]["resourceVersion"]) for p in lab.ready_pods(space, 3)}
    assert times["w-2"] < times["w-1"] < times["w-0"]
    lab.patch(at(space, "statefulsets", "w"), {"spec": {"replicas": 1}})
    (left,) = lab.wait(at(space, "pods"), lambda now: len(now) == 1)
    assert left["metadata"]["name"] == "w-0"


def order_of_events(lab: LabAccess, space: str, since: str, ready: int) -> list[str]:
    """Creations and first readiness of pods, in the order in which they happened."""
    order: list[str] = []
    for event in lab.watch(at(space, "pods"), {"resourceVersion": since}):
        name = event["object"]["metadata"]["name"]
        words = [f"+{name}"] if event["type"] == "ADDED" else []
        words += [f"ready {name}"] if is_ready(event["object"]) else []
        order += [word for word in words if word not in order]
        if sum(word.startswith("ready") for word in order) == ready:
            break
    return order


def test_a_daemon_set_is_on_every_node(lab: LabAccess, space: str) -> None:
    create(lab, space, workload("DaemonSet"))
    pods = lab.ready_pods(space, 3)
    assert sorted(p["spec"]["nodeName"] for p in pods) == sorted(lab.config.node_names)

    def counted(found: list[Object]) -> bool:
        status = found[0]["status"]
        return status["desiredNumberScheduled"] == status.get("numberAvailable") == 3

    lab.wait(at(space, "daemonsets"), counted)
    node = lab.config.node_names[2]
    lab.patch(
        at(space, "daemonsets", "w"),
        {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}}}},
    )
    lab.wait(at(space, "pods"), lambda now: [p["spec"]["nodeName"] for p in now if is_ready(p)] == [node])


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
def test_deletion_cascades_as_asked(lab: LabAccess, space: str, policy: str) -> None:
    create(lab, space, workload("Deployment", replicas=2))
    lab.ready_pods(space, 2)
    begin = lab.get(at(space, "deployments"))["metadata"]["resourceVersion"]
    lab.delete(at(space, "deployments", "w"), propagationPolicy=policy)
    lab.wait(at(space, "deployments"), lambda found: not found)
    sets = lab.get(at(space, "replicasets"))["items"]
    if policy == "Orphan":
        assert len(sets) == 1 and "ownerReferences" not in sets[0]["metadata"]
        lab.ready_pods(space, 2)
        return
    if policy == "Foreground":
        # the owner goes last, and says meanwhile what it waits for
        events = lab.watch(at(space, "deployments"), {"resourceVersion": begin})
        assert "foregroundDeletion" in next(events)["object"]["metadata"]["finalizers"]
        events.close()
        assert not sets
    lab.wait(at(space, "replicasets"), lambda found: not found)
    lab.wait(at(space, "pods"), lambda found: not found)


def test_a_namespace_goes_with_all_that_is_in_it(lab: LabAccess) -> None:
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}})
    slow = workload("Deployment", replicas=2)
    pod = slow["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 1
    pod["containers"][0]["command"] = ["sh", "-c", "trap : TERM; while :; do sleep 0.1; done"]
    create(lab, "going", slow)
    create(lab, "going", service("NodePort", [port(1, nodePort=30055)]))
    lab.ready_pods("going", 2)
    gone = lab.delete("/api/v1/namespaces/going")
    assert gone["status"]["phase"] == "Terminating"
    with pytest.raises(httpx.HTTPStatusError, match="because it is being terminated"):
        create(lab, "going", service("ClusterIP", [port(1)], "late"))
    lab.wait("/api/v1/namespaces", lambda found: "going" not in {n["metadata"]["name"] for n in found})
    assert not lab.get("/api/v1/namespaces/going/pods")["items"]
    assert all(p["metadata"]["namespace"] != "going" for p in lab.get("/api/v1/pods")["items"])


def port(number: int, **more: object) -> Object:
    return {"port": number, "protocol": "TCP", "name": f"p{number}", **more}


def service(kind: str, ports: list[Object], name: str = "s", **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": kind, "selector": SELECTOR, "ports": ports, **spec},
    }


def refusal(lab: LabAccess, space: str, obj: Object) -> str:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        create(lab, space, obj)
    assert caught.value.response.status_code == 422
    return str(caught.value.response.json()["message"])


def test_node_ports_and_cluster_addresses_are_nobody_elses(lab: LabAccess, space: str) -> None:
    create(lab, space, service("NodePort", [port(1, nodePort=30056)], "a", clusterIP="10.96.77.77"))
    assert "provided port is already allocated" in refusal(
        lab, space, service("NodePort", [port(1, nodePort=30056)], "b")
    )
    assert "provided IP is already allocated" in refusal(
        lab, space, service("ClusterIP", [port(1)], "b", clusterIP="10.96.77.77")
    )
    assert "The range of valid ports is 30000-32767" in refusal(
        lab, space, service("NodePort", [port(1, nodePort=80)], "b")
    )
    assert "the provided network does not match the current range" in refusal(
        lab, space, service("ClusterIP", [port(1)], "b", clusterIP="10.97.0.1")
    )
    lab.delete(at(space, "services", "a"))
    again = create(lab, space, service("NodePort", [port(1, nodePort=30056)], "b", clusterIP="10.96.77.77"))
    assert again["spec"]["clusterIP"] == "10.96.77.77"


def test_endpoints_follow_readiness_and_labels(lab: LabAccess, space: str) -> None:
    create(lab, space, service("ClusterIP", [port(80, targetPort=8080)]))
    create(lab, space, workload("Deployment", replicas=2))
    pods = lab.ready_pods(space, 2)
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{space}/endpointslices"

    def are(*addresses: str) -> None:
        lab.wait(
            slices,
            lambda found: (
                sorted(
                    e["addresses"][0]
                    for s in found
                    for e in s.get("endpoints") or []
                    if e["conditions"]["ready"]
                )
                == sorted(addresses)
            ),
        )

    first, second = (p["status"]["podIP"] for p in pods)
    are(first, second)
    relabel = {"metadata": {"labels": {"app": "other"}}}
    lab.patch(at(space, "deployments", "w"), {"spec": {"replicas": 0}})
    are()
    lab.patch(at(space, "deployments", "w"), {"spec": {"replicas": 1}})
    (pod,) = lab.ready_pods(space, 1)
    are(pod["status"]["podIP"])
    lab.patch(at(space, "pods", pod["metadata"]["name"]), relabel)
    # the ReplicaSet lets it go and makes another, the Service likewise
    (replacement,) = lab.ready_pods(space, 1, selector="app=w")
    are(replacement["status"]["podIP"])
    assert "ownerReferences" not in lab.get(at(space, "pods", pod["metadata"]["name"]))["metadata"]


def test_pods_that_come_and_go_leave_nothing_in_the_lab(lab: LabAccess, space: str) -> None:
    """Pods deleted at any moment of their start: no process, network namespace, link or folder of them stays."""
    for number in range(8):
        create(lab, space, workload("Deployment", replicas=9))
        if number % 2:
            lab.wait(at(space, "pods"), lambda pods, number=number: len(pods) > number)  # type: ignore[misc]
        lab.delete(at(space, "deployments", "w"), propagationPolicy="Background")
        lab.wait(at(space, "deployments"), lambda found: not found)
    lab.wait(at(space, "pods"), lambda pods: not pods)
    first = int(lab.lab.root.parent.name)
    deadline = time.monotonic() + PATIENCE
    while left := leftovers(lab, first):
        # the last objects go a moment before their processes
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def leftovers(lab: LabAccess, first: int) -> list[str]:
    """What the lab holds of pods that the API does not know."""
    pods = {p["metadata"]["uid"]: p for p in lab.get("/api/v1/pods")["items"]}
    running = lab.lab.root / "run"
    named = {path.name[len("pod-") :] for path in (running / "netns").glob("pod-*")}
    folders = {path.name for path in (running / "kubereach/pods").iterdir()}
    found = [f"network namespace of pod {uid}" for uid in named - set(pods)]
    found += [f"folder of pod {uid}" for uid in folders - set(pods)]
    containers = sum(len(p["spec"]["containers"]) for p in pods.values())
    processes = len(life.children(first)) - 1  # without the server
    if processes > containers:
        found.append(f"{processes} processes for {containers} containers")
    return found
