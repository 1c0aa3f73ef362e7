"""What an API server of an older version has not: at the versions' own gates, by their defaults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from kubereach_lab import versions

from .conftest import Server, open_http

SERVICES = "/api/v1/namespaces/default/services"
Client = httpx.Client


@contextmanager
def serving(folder: Any, version: str) -> Iterator[Client]:
    server = Server(folder, versions.named(version))
    with open_http(server) as client:
        yield client
    server.stop()


@pytest.fixture(scope="module", params=[29, 30, 31, 33, 34, 36, 37])
def at(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Client]]:
    """A minor version, and a client of such a server."""
    with serving(tmp_path_factory.mktemp("version"), f"1.{request.param}") as client:
        yield request.param, client


def made(client: Client, name: str, **spec: Any) -> httpx.Response:
    body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}
    return client.post(SERVICES, json={"apiVersion": "v1", "kind": "Service", **body})


def test_it_tells_its_version(at: tuple[int, Client]) -> None:
    minor, client = at
    told = client.get("/version").json()
    assert told["minor"] == str(minor)
    assert told["gitVersion"].startswith(f"v1.{minor}.")
    (node,) = client.get("/api/v1/nodes").json()["items"]
    assert node["status"]["nodeInfo"]["kubeletVersion"] == told["gitVersion"]


@pytest.mark.parametrize(
    ("value", "since"), [("PreferClose", 31), ("PreferSameZone", 34), ("PreferSameNode", 34)]
)
def test_traffic_distribution(at: tuple[int, Client], value: str, since: int) -> None:
    """Dropped without a word where the gate is off, refused where only the value is unknown."""
    minor, client = at
    answer = made(client, value.lower(), trafficDistribution=value)
    if minor < 31:
        assert answer.status_code == 201
        assert "trafficDistribution" not in answer.json()["spec"]
    elif minor < since:
        assert answer.status_code == 422
        assert 'supported values: "PreferClose"' in answer.json()["message"]
    else:
        assert answer.json()["spec"]["trafficDistribution"] == value
    warned = "deprecated" in answer.headers.get("Warning", "")
    assert warned == (value == "PreferClose" and minor >= 34)


def test_ip_mode(at: tuple[int, Client]) -> None:
    minor, client = at
    made(client, "balanced", type="LoadBalancer", loadBalancerClass="example.com/none")
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "Proxy"}]}}}
    answer = client.patch(
        f"{SERVICES}/balanced/status", json=status, headers={"Content-Type": "application/merge-patch+json"}
    )
    (ingress,) = answer.json()["status"]["loadBalancer"]["ingress"]
    assert ingress == {"ip": "192.0.2.1", **({"ipMode": "Proxy"} if minor >= 30 else {})}


def test_service_cidrs(at: tuple[int, Client]) -> None:
    minor, client = at
    group = "/apis/networking.k8s.io/v1"
    listed = {resource["name"] for resource in client.get(group).json()["resources"]}
    answer = client.get(f"{group}/servicecidrs")
    assert ("servicecidrs" in listed) == (answer.status_code == 200) == (minor >= 33)
    if minor >= 33:
        assert [item["spec"] for item in answer.json()["items"]] == [{"cidrs": ["10.96.0.0/16"]}]


def test_warnings_and_generations(at: tuple[int, Client]) -> None:
    minor, client = at
    endpoints = client.get("/api/v1/namespaces/default/endpoints")
    assert ("Warning" in endpoints.headers) == (minor >= 33)
    container = {"name": "c", "image": "i:1"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    created = client.post("/api/v1/namespaces/default/pods", json=pod).json()
    assert ("generation" in created["metadata"]) == (minor >= 33)


def test_streams_of_kubectl(at: tuple[int, Client]) -> None:
    """Its exec since 1.30; its port-forward always, since real servers of before 1.31 have it over SPDY alone."""
    minor, client = at
    container = {"name": "c", "image": "i:1"}
    spec = {"nodeName": "n", "containers": [container]}
    client.post("/api/v1/namespaces/default/pods", json={"metadata": {"name": "streams"}, "spec": spec})
    client.patch(
        "/api/v1/namespaces/default/pods/streams/status",
        json={"status": {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert taken(client, "portforward", "SPDY/3.1+portforward.k8s.io") == 101
    assert taken(client, "exec?command=true&stdout=true", "v5.channel.k8s.io") == (
        101 if minor >= 30 else 403
    )


def taken(client: Client, query: str, protocol: str) -> int:
    """What a server answers to who wants a WebSocket of a protocol."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": protocol}
    with client.stream("GET", f"/api/v1/namespaces/default/pods/streams/{query}", headers=headers) as answer:
        return answer.status_code


@pytest.mark.parametrize(
    ("text", "means"),
    [("1.29", "v1.29.0"), ("v1.30", "v1.30.0"), ("1.31.4", "v1.31.4"), ("1.36", versions.DEFAULT)],
)
def test_names_of_versions(text: str, means: str) -> None:
    assert versions.named(text) == means


@pytest.mark.parametrize("text", ["1.28", "1.38", "2.0", "latest", ""])
def test_versions_that_cannot_be_played(text: str) -> None:
    with pytest.raises(ValueError, match=r"1\.29 to 1\.37"):
        versions.named(text)
