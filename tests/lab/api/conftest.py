"""An API server on a loopback socket, in a thread of its own, and clients of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml
from kubernetes import client, config

from kubereach_lab import versions
from kubereach_lab.api.server import ApiServer
from kubereach_lab.config import LabConfig
from kubereach_lab.pki import Pki
from kubereach_lab.registry import Registry
from kubereach_lab.system import create_system

from .fake_runtime import FakeRuntime

Result = TypeVar("Result")


class Server:
    """A running API server; `call` runs a function in its thread, as controllers would."""

    def __init__(self, folder: Path, version: str = "") -> None:
        """With a `version` it plays that one, and has the objects of the system."""
        self.config = LabConfig(nodes=1, version=version or versions.DEFAULT)
        self.has_system = bool(version)
        self.pki = Pki(["127.0.0.1"], ["localhost", "kubernetes.default"])
        self.runtime = FakeRuntime(folder)
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.socket.getsockname()[1]}"
        self.registry = self.call(lambda: Registry(self.config))
        self.api = asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(30)
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(self.pki.kubeconfig(self.url))

    async def _start(self) -> ApiServer:
        if self.has_system:
            create_system(self.config, self.registry)
        else:
            for name in ("default", "kube-system"):
                self.registry.create("namespaces", {"metadata": {"name": name}})
        api = ApiServer(self.registry, self.runtime, self.pki, self.config)
        await api.start(self.socket)
        return api

    def call(self, function: Callable[[], Result]) -> Result:
        async def run() -> Result:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.api.stop(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("api"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def api_client(server: Server) -> Iterator[client.ApiClient]:
    loaded = config.new_client_from_config_dict(yaml.safe_load(server.kubeconfig.read_text()))
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def core(api_client: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api_client)


@pytest.fixture(scope="session")
def apps(api_client: client.ApiClient) -> client.AppsV1Api:
    return client.AppsV1Api(api_client)


@contextmanager
def open_http(server: Server) -> Iterator[httpx.Client]:
    """Raw requests, for what the official client hides."""
    paths = {name: server.folder / f"{name}.pem" for name in ("ca", "client", "key")}
    paths["ca"].write_bytes(server.pki.ca_pem)
    paths["client"].write_bytes(server.pki.client_pem)
    paths["key"].write_bytes(server.pki.client_key_pem)
    context = ssl.create_default_context(cafile=str(paths["ca"]))
    context.load_cert_chain(paths["client"], paths["key"])
    with httpx.Client(base_url=server.url, verify=context, timeout=30) as session:
        yield session


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    with open_http(server) as session:
        yield session


_counter = iter(range(10_000))


@pytest.fixture
def namespace(server: Server) -> str:
    """A fresh namespace."""
    name = f"t{next(_counter)}"
    server.call(lambda: server.registry.create("namespaces", {"metadata": {"name": name}}))
    return name


@pytest.fixture
def running_pod(server: Server, namespace: str) -> dict[str, Any]:
    """A pod of one container ``c`` that counts as running."""
    return make_running(server, namespace, "ex", ["c"])


def make_running(server: Server, namespace: str, name: str, containers: list[str]) -> dict[str, Any]:
    """Creates a pod and gives it the status that a kubelet would."""
    spec = {"nodeName": "n", "containers": [{"name": c, "image": "i:1"} for c in containers]}

    def run(pod: dict[str, Any]) -> None:
        common = {"ready": True, "restartCount": 0, "image": "i:1", "imageID": "", "state": {"running": {}}}
        states = [{"name": c, **common} for c in containers]
        pod["status"].update(phase="Running", podIP="127.0.0.1", containerStatuses=states)

    def make() -> dict[str, Any]:
        registry = server.registry
        registry.create("pods", {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
        return registry.update("pods", namespace, name, run, subresource="status")

    return server.call(make)
