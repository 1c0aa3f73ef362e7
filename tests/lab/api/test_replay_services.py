"""Services behave as those of a real API server: its recorded requests get its recorded answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import replay
from .conftest import Server, open_http

#: where the lab answers otherwise, by the note of the step -> why
_OTHERWISE = {
    "name ''": "the lab says that a name is required, and not what allocating an address without one leads to",
}
_WRITTEN_METADATA = ("name", "namespace", "labels", "annotations")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("replay"))

    def prepare() -> None:
        server.registry.create("namespaces", {"metadata": {"name": "golden-svc"}})
        create_built_in(server)

    server.call(prepare)
    yield server
    server.stop()


def create_built_in(server: Server) -> None:
    """What every cluster has: the recordings read it, and ask for its addresses."""
    for step in replay.load("service-create")[-4:]:
        body = step["response"]["body"]
        metadata = {key: v for key, v in body["metadata"].items() if key in _WRITTEN_METADATA}
        spec = {key: v for key, v in body.items() if key not in ("status", "kind", "apiVersion")}
        resource = step["request"]["path"].split("/")[-2]
        server.registry.create(resource, {**spec, "metadata": metadata})


def act_as_load_balancer(server: Server) -> None:
    """What the recorded cluster's load balancer controller did to the Service lb6."""

    def finalizer(service: dict[str, Any]) -> None:
        service["metadata"]["finalizers"] = ["service.kubernetes.io/load-balancer-cleanup"]

    def ingress(service: dict[str, Any]) -> None:
        service["status"]["loadBalancer"]["ingress"] = [{"ip": "172.30.255.3"}]

    server.registry.update("services", "golden-svc", "lb6", finalizer)
    server.registry.update("services", "golden-svc", "lb6", ingress, subresource="status")


@pytest.fixture(scope="module")
def played(fresh: Server) -> Iterator[replay.Replay]:
    with open_http(fresh) as session:
        yield replay.Replay(session)


@pytest.mark.parametrize("recording", ["service-create", "service-errors", "service-updates"])
def test_recording(recording: str, fresh: Server, played: replay.Replay) -> None:
    found: list[str] = []
    for step in replay.load(recording):
        if step.get("note") in _OTHERWISE:
            continue
        if step.get("note") == "after the load balancer controller":
            fresh.call(lambda: act_as_load_balancer(fresh))
        found += [f"{replay.label(step)}\n      {difference}" for difference in played.play(step)]
    found += played.finish()
    assert not found, f"{len(found)} differences:\n  " + "\n  ".join(found)
