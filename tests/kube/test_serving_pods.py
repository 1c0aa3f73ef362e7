"""Which pods serve a Service, told from the pods themselves."""

from __future__ import annotations

import pytest

from kubereach.kube.endpoints import addresses_of, port_at, selected, selector_of, serving


def service(selector=None, **spec):
    return {"kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": selector, **spec}}


def pod(name="a", labels=None, *, ready=True, deleted=False, ips=("10.0.0.1",), ports=()):
    meta = {"name": name, "labels": {"app": "web"} if labels is None else labels}
    if deleted:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": [{"name": "sidecar"}, {"ports": list(ports)}]},
        "status": {
            "podIPs": [{"ip": ip} for ip in ips],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


WEB = {"app": "web"}


def names(pods):
    return [one["metadata"]["name"] for one in pods]


def test_a_pod_is_selected_that_has_all_the_labels():
    both = {"app": "web", "tier": "front"}
    pods = [pod("all", {**both, "more": "x"}), pod("one", WEB), pod("other", {"app": "db"}), pod("none", {})]
    unlabelled = pod("unlabelled")
    del unlabelled["metadata"]["labels"]
    assert names(selected(service(both), [*pods, unlabelled])) == ["all"]


@pytest.mark.parametrize("selector", [None, {}])
def test_without_a_selector_no_pod_is_an_endpoint(selector):
    assert selector_of(service(selector)) == {}
    assert selected(service(selector), [pod()]) == serving(service(selector), [pod()]) == []


def test_a_pod_that_is_not_ready_is_selected_and_does_not_serve():
    pods = [pod("ready"), pod("busy", ready=False), pod("ending", deleted=True)]
    assert names(selected(service(WEB), pods)) == ["ready", "busy", "ending"]
    assert names(serving(service(WEB), pods)) == ["ready"]


def test_pods_that_are_not_ready_serve_where_the_service_publishes_them():
    pods = [
        pod("ready"),
        pod("busy", ready=False),
        pod("without-address", ready=False, ips=()),
        pod("ending", ready=False, deleted=True),
    ]
    assert names(serving(service(WEB, publishNotReadyAddresses=True), pods)) == ["ready", "busy"]


def test_the_addresses_of_a_pod():
    assert addresses_of(pod(ips=("10.0.0.1", "fd00::1"))) == ("10.0.0.1", "fd00::1")
    assert addresses_of({"status": {"podIP": "10.0.0.9"}}) == ("10.0.0.9",)
    assert addresses_of({"status": {"podIP": ""}}) == addresses_of({"metadata": {}}) == ()


@pytest.mark.parametrize(
    ("port", "number"),
    [
        ({"port": 80, "targetPort": 8080}, 8080),
        ({"port": 80}, 80),
        ({"port": 80, "targetPort": "http"}, 8000),
        ({"port": 80, "targetPort": "line"}, 0),
    ],
    ids=["number", "none", "name", "name that the pod has not"],
)
def test_the_port_that_a_target_port_means_at_a_pod(port, number):
    assert port_at(pod(ports=[{"containerPort": 1}, {"name": "http", "containerPort": 8000}]), port) == number
