"""Watches: what is sent, in which order, and when they end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
from kubernetes import client, watch

from .conftest import Server


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}


def lines(http: httpx.Client, namespace: str, **query: Any) -> list[dict[str, Any]]:
    """All events until the server ends the stream."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    answer = http.get(path, params={"watch": "true", "timeoutSeconds": 1, **query})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_official_watch_sees_changes_in_order(core: client.CoreV1Api, namespace: str) -> None:
    start = core.list_namespaced_config_map(namespace).metadata.resource_version

    def change() -> None:
        core.create_namespaced_config_map(namespace, config_map("a"))
        core.patch_namespaced_config_map("a", namespace, {"data": {"a": "2"}})
        core.delete_namespaced_config_map("a", namespace)

    thread = threading.Thread(target=change)
    thread.start()
    seen: list[str] = []
    stream = watch.Watch()
    events: Iterator[Any] = stream.stream(
        core.list_namespaced_config_map, namespace, resource_version=start, timeout_seconds=5
    )
    for event in events:
        seen.append(event["type"])
        if event["type"] == "DELETED":
            stream.stop()
    thread.join()
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


def test_initial_events_end_with_a_bookmark(
    http: httpx.Client, core: client.CoreV1Api, namespace: str
) -> None:
    core.create_namespaced_config_map(namespace, config_map("a"))
    events = lines(
        http,
        namespace,
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
        timeoutSeconds="2",
    )
    # the second one a second later, as the watch cache of a real server has it
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert "annotations" not in events[2]["object"]["metadata"]


def test_an_object_that_stops_to_match_is_deleted(
    http: httpx.Client, core: client.CoreV1Api, namespace: str
) -> None:
    start = core.create_namespaced_config_map(namespace, config_map("a", t="a")).metadata.resource_version
    core.patch_namespaced_config_map("a", namespace, {"metadata": {"labels": {"t": "z"}}})
    core.patch_namespaced_config_map("a", namespace, {"data": {"a": "3"}})
    core.patch_namespaced_config_map("a", namespace, {"metadata": {"labels": {"t": "a"}}})
    events = lines(http, namespace, labelSelector="t=a", resourceVersion=start)
    assert [event["type"] for event in events] == ["DELETED", "ADDED"]
    assert events[0]["object"]["metadata"]["labels"] == {"t": "a"}


def test_a_version_that_is_forgotten_is_an_error_event(
    http: httpx.Client, server: Server, namespace: str
) -> None:
    history = server.registry.store.history
    kept = server.call(history.copy)

    def forget() -> None:
        last = history[-1]
        history.clear()
        history.append(last)

    server.call(forget)
    (event,) = lines(http, namespace, resourceVersion="1")
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    server.call(lambda: history.extendleft(list(kept)[-2::-1]))


def test_a_watch_of_tables_sends_the_columns_once(
    http: httpx.Client, core: client.CoreV1Api, namespace: str
) -> None:
    for name in ("a", "b"):
        core.create_namespaced_config_map(namespace, config_map(name))
    answer = http.get(
        f"/api/v1/namespaces/{namespace}/configmaps",
        params={"watch": "true", "timeoutSeconds": 1},
        headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"},
    )
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [bool(event["object"]["columnDefinitions"]) for event in events] == [True, False]


def test_a_client_that_leaves_ends_its_watch(http: httpx.Client, server: Server, namespace: str) -> None:
    def listening() -> int:
        return server.call(lambda: len(server.registry.store._listeners))

    before = listening()
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=true"
    with http.stream("GET", path):
        assert listening() == before + 1
    deadline = time.monotonic() + 30
    while listening() != before:
        assert time.monotonic() < deadline, "the watch goes on without its client"
