"""A lab as its tests see it from outside: the official client, kubectl, and sockets in any of its namespaces."""

from __future__ import annotations

import array
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml
from kubernetes import client, config, stream
from websocket import WebSocket, create_connection

from kubereach_lab import Lab, LabConfig

Object = dict[str, Any]
_INSIDE = str(Path(__file__).with_name("lab_inside.py"))
_REPOSITORY = str(Path(__file__).parents[2])
# as text: a container does not see the machine's /tmp, where this repository may be
_AGNHOST = (Path(__file__).with_name("replay") / "agnhost.py").read_text()
#: what stands for the image of the recorded pods
IMAGES = {
    "registry.k8s.io/e2e-test-images/agnhost": [
        str(Path(sys.executable).resolve()),
        "-I",
        "-S",
        "-c",
        _AGNHOST,
    ]
}
#: longest wait for anything that takes the lab some milliseconds: a busy machine, not a slow lab
PATIENCE = 20


class LabAccess:
    """A started lab and the ways into it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.config: LabConfig = lab.config
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._own = threading.local()
        self._help(theirs, "sockets")
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        self._help(listener, "relay", self.config.node_addresses[0], str(self.config.api_port))
        self.kubeconfig = folder / "kubeconfig"
        told = yaml.safe_load(lab.kubeconfig.read_text())
        told["clusters"][0]["cluster"] |= {
            "server": f"https://127.0.0.1:{port}",
            "certificate-authority": str(lab.kubeconfig.with_name("ca.crt")),
        }
        for key in ("client-certificate", "client-key"):
            told["users"][0]["user"][key] = str(lab.kubeconfig.with_name(told["users"][0]["user"][key]))
        self.kubeconfig.write_text(yaml.safe_dump(told))
        self.api = config.new_client_from_config(str(self.kubeconfig))
        self._url = f"https://127.0.0.1:{port}"
        self.http = self.open_http()
        self.core = client.CoreV1Api(self.api)
        self.apps = client.AppsV1Api(self.api)

    def open_http(self) -> httpx.Client:
        """A client of its own for raw requests."""
        folder = self.lab.kubeconfig.parent
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(folder / "client.crt", folder / "client.key")
        return httpx.Client(
            base_url=self._url, verify=context, timeout=PATIENCE, headers={"Accept": "application/json"}
        )

    def _help(self, given: socket.socket, *words: str) -> None:
        init_pid = self.lab.root.parent.name
        with given:
            command = [sys.executable, _INSIDE, init_pid, words[0], str(given.fileno()), *words[1:]]
            environment = {**os.environ, "PYTHONPATH": _REPOSITORY}
            self._helpers.append(
                subprocess.Popen(
                    command, pass_fds=[given.fileno()], env=environment, stdin=subprocess.DEVNULL
                )
            )

    def close(self) -> None:
        self.http.close()
        self.api.close()
        self._control.close()
        for helper in self._helpers:
            helper.kill()
            helper.wait()

    # --- objects

    def create(self, obj: Object) -> Object:
        """Create any object of the core or apps group; a missing namespace in it means a mistake in the test."""
        path, query = self._path(obj), [("fieldValidation", "Strict")]
        return self.request("POST", path, obj, query)

    def create_all(self, text: str, namespace: str) -> None:
        """Create what a YAML stream says, in a namespace."""
        for obj in yaml.safe_load_all(text):
            obj["metadata"]["namespace"] = namespace
            self.create(obj)

    @staticmethod
    def _path(obj: Object) -> str:
        group = "/api/v1" if obj["apiVersion"] == "v1" else f"/apis/{obj['apiVersion']}"
        plural = {"Endpoints": "endpoints"}.get(obj["kind"], obj["kind"].lower() + "s")
        namespace = obj["metadata"].get("namespace")
        return f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: list[tuple[str, str]] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """A raw request; raises httpx.HTTPStatusError with the Status' message for a refusal."""
        headers = {"Content-Type": content_type} if body is not None else {}
        content = json.dumps(body).encode() if body is not None else None
        answer = self.http.request(method, path, params=query or [], content=content, headers=headers)
        if answer.is_error:
            request = answer.request
            raise httpx.HTTPStatusError(f"{method} {path}: {answer.text}", request=request, response=answer)
        result: Object = answer.json()
        return result

    def get(self, path: str, **query: str) -> Object:
        return self.request("GET", path, query=list(query.items()))

    def patch(self, path: str, body: Any) -> Object:
        return self.request("PATCH", path, body, content_type="application/merge-patch+json")

    def delete(self, path: str, **options: Any) -> Object:
        return self.request("DELETE", path, options or None)

    def wait(self, path: str, holds: Callable[[list[Object]], bool], **query: str) -> list[Object]:
        """Watch a list until `holds` for its items; returns them."""
        listed = self.get(path, **query)
        items = {item["metadata"]["uid"]: item for item in listed["items"]}
        if holds(list(items.values())):
            return list(items.values())
        version = listed["metadata"]["resourceVersion"]
        for event in self.watch(path, {**query, "resourceVersion": version}):
            obj = event["object"]
            if event["type"] == "DELETED":
                items.pop(obj["metadata"]["uid"], None)
            else:
                items[obj["metadata"]["uid"]] = obj
            if holds(list(items.values())):
                return list(items.values())
        raise AssertionError(f"{path} did not come to what was waited for; it is {list(items.values())}")

    def watch(self, path: str, query: dict[str, str]) -> Iterator[Object]:
        """The events of a watch, for as long as we are patient."""
        pairs = {**query, "watch": "true", "timeoutSeconds": str(PATIENCE)}
        with self.http.stream("GET", path, params=pairs) as answer:
            yield from (json.loads(line) for line in answer.iter_lines())

    def ready_pods(self, namespace: str, count: int, selector: str = "") -> list[Object]:
        """Wait for exactly `count` pods, all Ready."""
        query = {"labelSelector": selector} if selector else {}

        def holds(pods: list[Object]) -> bool:
            return len(pods) == count and all(is_ready(pod) for pod in pods)

        return self.wait(f"/api/v1/namespaces/{namespace}/pods", holds, **query)

    def pod(self, namespace: str, name: str, holds: Callable[[Object], bool]) -> Object:
        """Wait until `holds` for one pod."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        found = self.wait(
            path,
            lambda pods: bool(pods) and holds(pods[0]),
            fieldSelector=f"metadata.name={name}",
        )
        return found[0]

    def exec(self, namespace: str, pod: str, *command: str, container: str = "") -> str:
        """What a command in a pod writes, standard error included."""
        arguments = {"container": container} if container else {}
        # The official client's stream() changes the client that it is given for the time of the call, so threads
        # must not share one.
        if not hasattr(self._own, "core"):
            self._own.core = client.CoreV1Api(config.new_client_from_config(str(self.kubeconfig)))
        written: str = stream.stream(
            self._own.core.connect_get_namespaced_pod_exec,
            pod,
            namespace,
            command=list(command),
            stdout=True,
            stderr=True,
            **arguments,
        )
        return written

    def websocket(self, path: str, protocol: str) -> WebSocket:
        """A WebSocket of a path and query. Raises `WebSocketBadStatusException`."""
        folder = self.lab.kubeconfig.parent
        files = {"ca_certs": "ca.crt", "certfile": "client.crt", "keyfile": "client.key"}
        options = {name: str(folder / file) for name, file in files.items()}
        url = self._url.replace("https", "wss", 1) + path
        return create_connection(url, subprotocols=[protocol], sslopt=options, timeout=PATIENCE)

    # --- packets

    def where(self, place: str | Object) -> str:
        """The network namespace of a node (by name), of a pod (the object), or of the outside ("")."""
        if isinstance(place, str):
            return f"/run/netns/{place}" if place else ""
        if place["spec"].get("hostNetwork"):
            return f"/run/netns/{place['spec']['nodeName']}"
        return f"/run/netns/pod-{place['metadata']['uid']}"

    def sockets(
        self, place: str | Object, count: int, *, udp: bool = False, ipv6: bool = False
    ) -> list[socket.socket]:
        """New sockets that belong to a namespace of the lab."""
        with self._lock:
            self._ask({"where": self.where(place), "udp": udp, "ipv6": ipv6, "count": count})
            _, ancillary, _, _ = self._control.recvmsg(4096, socket.CMSG_SPACE(4 * count))
        fds = array.array("i")
        for _, _, payload in ancillary:
            fds.frombytes(payload)
        return [socket.socket(fileno=fd) for fd in fds]

    def sysctl(self, place: str | Object, name: str, value: str) -> None:
        """Set a sysctl below net in a namespace of the lab, for example ``ipv4/icmp_ratelimit``."""
        with self._lock:
            self._ask({"where": self.where(place), "sysctl": name, "value": value})
            assert self._control.recv(4096) == b"{}"

    def route(self, destination: str, gateway: str) -> None:
        """Route a range at the outside; "" as the gateway withdraws it."""
        with self._lock:
            self._ask({"where": "", "route": destination, "gateway": gateway})
            assert self._control.recv(4096) == b"{}"

    def _ask(self, request: Object) -> None:
        self._control.send(json.dumps(request).encode())

    def log(self) -> str:
        """What the lab itself had to say."""
        return (self.lab.root / "run/kubereach/lab.log").read_text()


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in conditions
    )
