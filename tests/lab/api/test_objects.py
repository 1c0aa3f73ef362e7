"""Create, read, update, patch and delete through the official client."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from .conftest import Server, make_running


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def deployment(name: str, replicas: int = 2) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def test_a_service_gets_an_address_and_keeps_it(core: client.CoreV1Api, namespace: str) -> None:
    made = core.create_namespaced_service(namespace, service("a"))
    patched = core.patch_namespaced_service("a", namespace, {"spec": {"type": "NodePort"}})
    assert made.spec.cluster_ip.startswith("10.96.")
    assert patched.spec.cluster_ip == made.spec.cluster_ip
    assert 30000 <= patched.spec.ports[0].node_port <= 32767
    assert patched.metadata.resource_version != made.metadata.resource_version


def test_a_node_port_is_free_again_after_deletion(core: client.CoreV1Api, namespace: str) -> None:
    wanted = service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30019}])
    core.create_namespaced_service(namespace, wanted)
    with pytest.raises(ApiException, match="provided port is already allocated"):
        core.create_namespaced_service(namespace, {**wanted, "metadata": {"name": "b"}})
    core.delete_namespaced_service("a", namespace)
    again = core.create_namespaced_service(namespace, {**wanted, "metadata": {"name": "b"}})
    assert again.spec.ports[0].node_port == 30019
    core.delete_namespaced_service("b", namespace)


def test_a_refused_service_takes_no_numbers(core: client.CoreV1Api, server: Server, namespace: str) -> None:
    addresses = server.registry._strategies["services"].allocator.addresses["IPv4"]
    before = server.call(lambda: len(addresses._taken))
    ports = [{"name": "a", "port": 80, "nodePort": 30018}, {"name": "b", "port": 81, "nodePort": 1}]
    with pytest.raises(ApiException, match="not in the valid range"):
        core.create_namespaced_service(namespace, service("a", type="NodePort", ports=ports))
    assert server.call(lambda: len(addresses._taken)) == before
    core.create_namespaced_service(namespace, service("b", type="NodePort", ports=ports[:1]))
    core.delete_namespaced_service("b", namespace)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/data/nosuch"},
        {"op": "test", "path": "/data/a", "value": "2"},
        {"op": "add", "path": "/metadata/finalizers/5", "value": "x/y"},
        {"op": "replace", "path": 5, "value": 1},
        {"op": "shuffle", "path": "/data/a"},
        {"path": "/data/a"},
        "remove",
    ],
    ids=str,
)
def test_a_json_patch_that_cannot_be_applied(http: httpx.Client, namespace: str, operation: Any) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    http.post(path, json={"metadata": {"name": "patched"}, "data": {"a": "1"}})
    first = {"op": "add", "path": "/data/b", "value": "2"}
    content_type = {"Content-Type": "application/json-patch+json"}
    refused = http.patch(f"{path}/patched", json=[first, operation], headers=content_type)
    assert refused.status_code == 422
    assert refused.json()["message"] == "the server rejected our request due to an error in our request"
    assert http.get(f"{path}/patched").json()["data"] == {"a": "1"}, "all operations or none"
    done = http.patch(f"{path}/patched", json=[first], headers=content_type)
    assert done.json()["data"] == {"a": "1", "b": "2"}


def test_a_stale_put_is_a_conflict(core: client.CoreV1Api, namespace: str) -> None:
    made = core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    core.patch_namespaced_config_map("c", namespace, {"data": {"a": "2"}})
    with pytest.raises(ApiException) as refused:
        core.replace_namespaced_config_map("c", namespace, made)
    assert refused.value.status == 409


def test_an_unchanged_patch_keeps_the_version(core: client.CoreV1Api, namespace: str) -> None:
    made = core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    same = core.patch_namespaced_config_map("c", namespace, {"data": {"a": "1"}})
    assert same.metadata.resource_version == made.metadata.resource_version


def test_deployment_defaults_generation_and_scale(apps: client.AppsV1Api, namespace: str) -> None:
    made = apps.create_namespaced_deployment(namespace, deployment("d"))
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    assert made.metadata.generation == 1
    scaled = apps.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 5}})
    assert (scaled.spec.replicas, scaled.status.selector) == (5, "app=d")
    assert apps.read_namespaced_deployment("d", namespace).metadata.generation == 2
    status = apps.patch_namespaced_deployment_status("d", namespace, {"status": {"replicas": 5}})
    assert (status.status.replicas, status.metadata.generation) == (5, 2)


def test_strategic_merge_changes_one_container_by_name(apps: client.AppsV1Api, namespace: str) -> None:
    apps.create_namespaced_deployment(namespace, deployment("d"))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}}}
    apps.patch_namespaced_deployment("d", namespace, patch)
    patch["spec"]["template"]["spec"]["containers"] = [{"name": "c", "image": "i:2"}]
    changed = apps.patch_namespaced_deployment("d", namespace, patch)
    images = {c.name: c.image for c in changed.spec.template.spec.containers}
    assert images == {"c": "i:2", "side": "s:1"}


def test_merge_patch_replaces_a_list(http: httpx.Client, core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_service(
        namespace, service("a", ports=[{"name": "x", "port": 80}, {"name": "y", "port": 81}])
    )
    answer = http.patch(
        f"/api/v1/namespaces/{namespace}/services/a",
        content='{"spec":{"ports":[{"port":90}]}}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert [port["port"] for port in answer.json()["spec"]["ports"]] == [90]


def test_server_side_apply_is_refused_clearly(http: httpx.Client, namespace: str) -> None:
    answer = http.patch(
        f"/api/v1/namespaces/{namespace}/services/a?fieldManager=x",
        content="{}",
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    assert answer.status_code == 501
    assert "server-side apply" in answer.json()["message"]


def test_a_dry_run_leaves_nothing(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_service(namespace, service("a"), dry_run="All")
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_service("a", namespace)
    assert missing.value.status == 404


def test_selectors_and_pages(core: client.CoreV1Api, server: Server, namespace: str) -> None:
    for i in range(5):
        labels = {"n": str(i), "app": "a" if i < 3 else "b"}
        core.create_namespaced_config_map(namespace, {"metadata": {"name": f"c{i}", "labels": labels}})
    make_running(server, namespace, "p", ["c"])

    def names(**query: Any) -> list[str]:
        return [item.metadata.name for item in core.list_namespaced_config_map(namespace, **query).items]

    assert names(label_selector="app=a,n!=1") == ["c0", "c2"]
    assert names(label_selector="n in (3,4)") == ["c3", "c4"]
    assert names(field_selector="metadata.name=c1") == ["c1"]
    first = core.list_namespaced_config_map(namespace, limit=2)
    assert first.metadata.remaining_item_count == 3
    rest = core.list_namespaced_config_map(namespace, limit=10, _continue=first.metadata._continue)
    assert [item.metadata.name for item in rest.items] == ["c2", "c3", "c4"]
    running = core.list_pod_for_all_namespaces(field_selector="spec.nodeName=n,status.phase=Running")
    assert (namespace, "p") in [(pod.metadata.namespace, pod.metadata.name) for pod in running.items]


@pytest.mark.usefixtures("running_pod")
def test_a_running_pod_is_deleted_gracefully(core: client.CoreV1Api, namespace: str) -> None:
    marked = core.delete_namespaced_pod("ex", namespace, grace_period_seconds=7)
    assert marked.metadata.deletion_grace_period_seconds == 7
    assert core.read_namespaced_pod("ex", namespace).metadata.deletion_timestamp is not None
    core.delete_namespaced_pod("ex", namespace, grace_period_seconds=0)
    with pytest.raises(ApiException):
        core.read_namespaced_pod("ex", namespace)


@pytest.mark.usefixtures("server")
def test_eviction_and_binding(core: client.CoreV1Api, namespace: str) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    core.create_namespaced_pod(namespace, pod)
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    core.create_namespaced_pod_binding("p", namespace, binding, _preload_content=False)
    assert core.read_namespaced_pod("p", namespace).spec.node_name == "n1"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    core.create_namespaced_pod_eviction("p", namespace, eviction)
    assert core.read_namespaced_pod("p", namespace).metadata.deletion_timestamp is not None


def test_foreground_deletion_waits_for_the_garbage_collector(apps: client.AppsV1Api, namespace: str) -> None:
    apps.create_namespaced_deployment(namespace, deployment("d"))
    apps.delete_namespaced_deployment("d", namespace, propagation_policy="Foreground")
    left = apps.read_namespaced_deployment("d", namespace)
    assert left.metadata.finalizers == ["foregroundDeletion"]
    apps.patch_namespaced_deployment("d", namespace, {"metadata": {"finalizers": None}})
    with pytest.raises(ApiException):
        apps.read_namespaced_deployment("d", namespace)


def test_a_namespace_goes_when_it_is_finalized(
    core: client.CoreV1Api, http: httpx.Client, server: Server, namespace: str
) -> None:
    terminating = http.delete(f"/api/v1/namespaces/{namespace}").json()
    assert terminating["status"]["phase"] == "Terminating"
    with pytest.raises(ApiException, match="because it is being terminated"):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": "late"}})
    finalize = partial(server.registry.update, "namespaces", None, namespace, subresource="finalize")
    server.call(lambda: finalize(lambda obj: obj.update(spec={})))
    with pytest.raises(ApiException):
        core.read_namespace(namespace)


def test_events_are_counted_and_seen_through_both_groups(
    core: client.CoreV1Api, http: httpx.Client, server: Server, running_pod: Any, namespace: str
) -> None:
    for _ in range(3):
        server.call(
            lambda: server.registry.events.record(running_pod, "Warning", "BackOff", "again", "kubelet")
        )
    (event,) = core.list_namespaced_event(namespace).items
    assert (event.count, event.reason, event.involved_object.name) == (3, "BackOff", "ex")
    (newer,) = http.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events").json()["items"]
    assert (newer["note"], newer["regarding"]["name"]) == ("again", "ex")


def test_events_are_forgotten(
    server: Server,
    core: client.CoreV1Api,
    namespace: str,
    running_pod: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def record(reason: str) -> None:
        server.call(lambda: server.registry.events.record(running_pod, "Normal", reason, "text", "kubelet"))

    record("Old")
    monkeypatch.setattr("kubereach_lab.recorder._KEPT", -1.0)
    record("New")
    assert [event.reason for event in core.list_namespaced_event(namespace).items] == ["New"]


def test_without_a_certificate_nothing_but_health_is_answered(server: Server) -> None:
    with httpx.Client(base_url=server.url, verify=False) as stranger:
        refused = stranger.get("/api/v1/namespaces")
        assert (refused.status_code, refused.json()["reason"]) == (401, "Unauthorized")
        assert stranger.get("/healthz").text == "ok"


def test_may_i(api_client: client.ApiClient) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods/exec", "namespace": "x"}}}
    answer = client.AuthorizationV1Api(api_client).create_self_subject_access_review(review)
    assert answer.status.allowed
