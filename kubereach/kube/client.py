"""Requests to the API server: plain objects in, plain objects out, by the official client's connection.

The client's generated models are left aside: building and reading them costs milliseconds for each object. Its
configuration, certificates, proxies, tokens and exec plugins are all in use.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from websocket import WebSocketBadStatusException, WebSocketException

from kubereach.kube.access import ClusterAccess
from kubereach.kube.exec_websocket import connect, status_message
from kubereach.kube.transport import REPEATED, ApiError, Transport, may_be_repeated
from kubereach.model.errors import CannotMeasure, Unreachable

__all__ = ["KINDS", "REQUEST", "Api", "ApiError", "Object", "object_path", "path_of"]

Object = dict[str, Any]

#: annotation by which an object is recognized whose creation was never answered
REQUEST = "kubereach.io/request"

#: path prefix and plural of the kinds that our manifests may hold; all but Namespace are namespaced
KINDS = {
    ("v1", "Namespace"): "api/v1/namespaces",
    ("v1", "ConfigMap"): "api/v1/{}/configmaps",
    ("v1", "Secret"): "api/v1/{}/secrets",
    ("v1", "ServiceAccount"): "api/v1/{}/serviceaccounts",
    ("v1", "Service"): "api/v1/{}/services",
    ("v1", "Pod"): "api/v1/{}/pods",
    ("apps/v1", "DaemonSet"): "apis/apps/v1/{}/daemonsets",
    ("apps/v1", "Deployment"): "apis/apps/v1/{}/deployments",
    ("apps/v1", "StatefulSet"): "apis/apps/v1/{}/statefulsets",
    ("discovery.k8s.io/v1", "EndpointSlice"): "apis/discovery.k8s.io/v1/{}/endpointslices",
    ("networking.k8s.io/v1", "NetworkPolicy"): "apis/networking.k8s.io/v1/{}/networkpolicies",
    ("networking.k8s.io/v1", "Ingress"): "apis/networking.k8s.io/v1/{}/ingresses",
}


def path_of(kind: tuple[str, str], namespace: str = "", name: str = "") -> str:
    """The path of a collection or, with `name`, of an object. Raises KeyError for a kind that we do not know."""
    path = "/" + KINDS[kind].format(f"namespaces/{namespace}" if namespace else "").replace("//", "/")
    return f"{path}/{name}" if name else path


def object_path(obj: Object) -> str:
    meta = obj["metadata"]
    return path_of((obj["apiVersion"], obj["kind"]), meta.get("namespace", ""), meta["name"])


_EXEC_REMEDY = "Try `kubectl exec`; a proxy in front of the API server must support WebSockets."


class Api:
    """One cluster's API. Every method may be called from any thread; time-outs are seconds.

    A request that a restarting or busy server, or a connection that broke, has left without an answer is repeated for
    `patience` seconds. Raises `ApiError` when the server refuses, `Unreachable` (a `CannotMeasure`) when it cannot be
    reached, `CannotMeasure` when it does not let us in.
    """

    def __init__(self, access: ClusterAccess, patience: float = 30.0) -> None:
        self._transport = Transport(access, patience)
        #: held while it is decided whether an object may still be created; notified when one has been
        self._creating = threading.Condition()
        self._under_way = 0
        self._no_more_objects = False
        self.host = self._transport.host
        self.description = access.description

    @property
    def ca(self) -> str:
        """The authority that the API server's certificate is verified against, as PEM; empty when unknown."""
        data = getattr(self._transport.configuration, "ca_cert_data", None)
        if data:
            return data if isinstance(data, str) else bytes(data).decode()
        file = self._transport.configuration.ssl_ca_cert
        if not file:
            return ""
        return Path(file).read_text(encoding="ascii")

    @property
    def server_time(self) -> float | None:
        """The server's own time in seconds since the epoch, by the Date of its answers; None if it gave none."""
        return self._transport.server_time

    def _object(self, response: urllib3.BaseHTTPResponse) -> Object:
        try:
            found = json.loads(response.data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CannotMeasure(
                f"the answer of {self._transport.where} is not a Kubernetes object",
                "Check the server in the kubeconfig: a proxy or a login page may answer instead of the "
                "API server.",
            )
        return found

    def get(self, path: str, **query: object) -> Object:
        return self._object(self._transport.send("GET", path, query, None))

    def find(self, path: str, **query: object) -> Object | None:
        """Like `get`, but None for what is not there, or not for us to see."""
        try:
            return self.get(path, **query)
        except ApiError as error:
            if error.status in (403, 404, 405):
                return None
            raise

    def items(self, path: str, **query: object) -> list[Object]:
        return self.get(path, **query).get("items") or []

    def create(self, obj: Object, dry_run: bool = False) -> Object:
        """Create an object, once: where a request was not answered, what came of it is looked up.

        Raises `CannotMeasure` after `end_creation`.
        """
        meta = obj["metadata"]
        path = path_of((obj["apiVersion"], obj["kind"]), meta.get("namespace", ""))
        if dry_run:
            return self._object(self._transport.send("POST", path, {"dryRun": "All"}, obj))
        with self._creating:
            if self._no_more_objects:
                raise CannotMeasure("the run has ended")
            self._under_way += 1
        try:
            return self._create(path, obj)
        finally:
            with self._creating:
                self._under_way -= 1
                self._creating.notify_all()

    def end_creation(self, seconds: float) -> None:
        """Refuse to create further objects, and wait for those under way, `seconds` at most: all can be listed then."""
        with self._creating:
            self._no_more_objects = True
            self._creating.wait_for(lambda: not self._under_way, seconds)

    def _create(self, path: str, obj: Object) -> Object:
        meta = obj["metadata"]
        mark = secrets.token_hex(8)
        annotations = {**(meta.get("annotations") or {}), REQUEST: mark}
        marked = {**obj, "metadata": {**meta, "annotations": annotations}}
        for attempt in self._transport.attempts():
            with attempt:
                try:
                    return self._object(self._transport.once("POST", path, {}, marked))
                except ApiError as error:
                    first = attempt.retry_state.attempt_number == 1
                    if first or may_be_repeated(error):
                        raise
                    # an attempt before may have succeeded: then this one meets its own name, or its own node port
                    found = self.find(f"{path}/{meta['name']}")
                    if (((found or {}).get("metadata") or {}).get("annotations") or {}).get(REQUEST) != mark:
                        raise
                    return found or {}
        raise AssertionError("an attempt returns or raises")

    def review(self, spec: Object) -> Object:
        """The status of a SelfSubjectAccessReview."""
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self._object(self._transport.send("POST", path, {}, body))
        return answer.get("status") or {}

    def patch(self, path: str, change: Object) -> Object:
        """A JSON merge patch (RFC 7396)."""
        return self._object(
            self._transport.send("PATCH", path, {}, change, content_type="application/merge-patch+json")
        )

    def delete(self, path: str, **options: object) -> None:
        """Delete; what is not there any more is no error."""
        try:
            self._transport.send("DELETE", path, {}, dict(options) or None)
        except ApiError as error:
            if error.status != 404:
                raise

    def watch(self, path: str, seconds: float, **query: object) -> Iterator[tuple[str, Object]]:
        """``LISTED`` with the list itself, then ADDED, MODIFIED and DELETED objects until `seconds` are over.

        Ends early when the server ends it, the connection is dropped or the resource version is too old; the caller
        then watches anew.
        """
        listed = self.get(path, **query)
        kind, version = str(listed["kind"]).removesuffix("List"), listed["apiVersion"]
        listed["items"] = [{**item, "kind": kind, "apiVersion": version} for item in listed["items"] or ()]
        yield "LISTED", listed
        parameters = {
            "watch": "true",
            "resourceVersion": listed["metadata"]["resourceVersion"],
            "timeoutSeconds": max(1, int(seconds)),
        }
        response = self._transport.send("GET", path, {**query, **parameters}, None, seconds + 5, stream=True)
        try:
            pending = b""
            for part in response.stream(65536):
                *lines, pending = (pending + part).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return  # a connection that was dropped: whether the server is there at all the next request tells
        finally:
            # an unfinished stream cannot be used for another request
            response.close()

    def exec(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> Any:
        """Start `command` in a container with standard input attached; gives a connected WebSocket.

        `timeout` is seconds for each step of connecting. Raises `CannotMeasure` when exec is forbidden or fails,
        `Unreachable` when another attempt may succeed.
        """
        self._transport.require_open()
        query = [("container", container), *(("command", word) for word in command)]
        query += [("stdin", "true"), ("stdout", "true"), ("stderr", "true"), ("tty", "false")]
        address = f"{self.host}{path_of(('v1', 'Pod'), namespace, pod)}/exec?{urlencode(query)}"
        what = f"exec into pod {namespace}/{pod}"
        try:
            return connect(
                self._transport.configuration,
                address.replace("http", "ws", 1),
                self._transport.headers(),
                timeout,
            )
        except WebSocketBadStatusException as error:
            message = status_message(error)
            if error.status_code in REPEATED:
                raise Unreachable(f"{what} failed: {message}", _EXEC_REMEDY) from error
            if error.status_code == 403:
                raise CannotMeasure(
                    f"{what} is forbidden: {message}",
                    "kubereach starts probes inside pods and needs `create` and `get` on pods/exec in its "
                    "namespaces.",
                ) from error
            raise CannotMeasure(f"{what} failed: {message}", _EXEC_REMEDY) from error
        except (WebSocketException, OSError, ValueError) as error:
            text = str(error).partition(" -+-+- ")[0].strip()
            raise Unreachable(
                f"{what} failed: {text.splitlines()[0] if text else type(error).__name__}", _EXEC_REMEDY
            ) from error

    @contextmanager
    def threads(self, count: int) -> Iterator[ThreadPoolExecutor]:
        """Threads for requests, which have all ended afterwards. Who is interrupted waits for none to be repeated."""
        with ThreadPoolExecutor(count) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._transport.interrupt()
                raise

    def close(self) -> None:
        """Let go of all connections. A request that is being repeated ends; further ones raise `CannotMeasure`."""
        self._transport.close()
