"""Requests to the API server: plain objects in, plain objects out, by the official client's connection.

The client's generated models are left aside: building and reading them costs milliseconds for each object. Its
configuration, certificates, proxies, tokens and exec plugins are all in use.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client import ApiClient
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    wait_random_exponential,
)
from urllib3.connection import HTTPConnection
from urllib3.util import Retry
from websocket import WebSocketBadStatusException, WebSocketException

from kubereach.api_failures import has_expired, unreachable
from kubereach.connection import configuration, proxy_of
from kubereach.errors import CannotMeasure, Unreachable
from kubereach.exec_websocket import connect, keepalive, status_message
from kubereach.targets import ClusterAccess

Object = dict[str, Any]

#: seconds before a request is repeated, growing from the first to the second, unless the server names its own
_PAUSE, _LONGEST_PAUSE = 0.1, 3.0
#: seconds that a server may ask us to wait, at most
_LONGEST_ASKED = 10.0
#: statuses by which a server says, or a balancer in front of it, that the next attempt may well succeed
_REPEATED = frozenset({429, 500, 502, 503, 504})
#: seconds for a connection, and without a byte of an answer
_CONNECT, _READ = 10.0, 30.0
#: attempts of the first request of all: what is not there at all is reported at once
_FIRST_ATTEMPTS = 4
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


class ApiError(Exception):
    """The API server refused. `message` is its Status' message, `status` the HTTP code, `reason` the Status' reason."""

    def __init__(self, status: int, reason: str, message: str, what: str, retry_after: float = 0.0) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        #: seconds after which the server wants the request repeated; 0 if it does not say
        self.retry_after = retry_after
        super().__init__(f"{what}: {message or reason} ({status})")


def path_of(kind: tuple[str, str], namespace: str = "", name: str = "") -> str:
    """The path of a collection or, with `name`, of an object. Raises KeyError for a kind that we do not know."""
    path = "/" + KINDS[kind].format(f"namespaces/{namespace}" if namespace else "").replace("//", "/")
    return f"{path}/{name}" if name else path


def object_path(obj: Object) -> str:
    meta = obj["metadata"]
    return path_of((obj["apiVersion"], obj["kind"]), meta.get("namespace", ""), meta["name"])


class Api:
    """One cluster's API. Every method may be called from any thread; time-outs are seconds.

    A request that a restarting or busy server, or a connection that broke, has left without an answer is repeated for
    `patience` seconds. Raises `ApiError` when the server refuses, `Unreachable` (a `CannotMeasure`) when it cannot be
    reached, `CannotMeasure` when it does not let us in.
    """

    def __init__(self, access: ClusterAccess, patience: float = 30.0) -> None:
        self._configuration = configuration(access)
        self._configuration.socket_options = [*HTTPConnection.default_socket_options, *keepalive()]
        self._client = ApiClient(self._configuration)
        self._proxy = proxy_of(self._configuration)
        self._patience = patience
        #: whether the server has ever answered
        self._answered = False
        self._closed = threading.Event()
        self._creating = threading.Condition()
        self._under_way = 0
        self._no_more_objects = False
        #: the server's clock (seconds since the epoch) less our monotonic one, by its last answer
        self._clock: float | None = None
        self.host: str = self._configuration.host.rstrip("/")
        self.description = access.description

    @property
    def ca(self) -> str:
        """The authority that the API server's certificate is verified against, as PEM; empty when unknown."""
        data = getattr(self._configuration, "ca_cert_data", None)
        if data:
            return data if isinstance(data, str) else bytes(data).decode()
        file = self._configuration.ssl_ca_cert
        if not file:
            return ""
        return Path(file).read_text(encoding="ascii")

    @property
    def _where(self) -> str:
        return f"{self.host} (through the proxy {self._proxy})" if self._proxy else self.host

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "kubereach"}
        for setting in self._configuration.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        return headers

    @property
    def server_time(self) -> float | None:
        """The server's own time in seconds since the epoch, by the Date of its answers; None if it gave none."""
        return None if self._clock is None else self._clock + time.monotonic()

    def _once(
        self, method: str, path: str, query: Mapping[str, object], body: object, timeout: float, stream: bool,
        content_type: str = "application/json",
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        """One attempt of a request."""
        if self._closed.is_set():
            raise CannotMeasure("the run is over")
        url = self.host + path + ("?" + urlencode(query) if query else "")
        headers = self._headers()
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response: urllib3.BaseHTTPResponse = self._client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT, read=timeout),
                retries=False,
                preload_content=not stream,
            )
        except (urllib3.exceptions.HTTPError, OSError, ssl.SSLError) as error:
            raise unreachable(self._where, error, self._configuration.cert_file, self._answered) from error
        self._answered = True
        with contextlib.suppress(TypeError, ValueError):
            sent = parsedate_to_datetime(response.headers.get("Date", ""))
            self._clock = sent.timestamp() - time.monotonic()
        if response.status < 400:
            return response
        raise self._refusal(response, f"{method} {path}")

    def _attempts(self) -> Retrying:
        """Attempts of one request, with pauses, until `patience` is over; two at least, for one may hang as long."""

        def enough(state: RetryCallState) -> bool:
            if self._closed.is_set():
                return True
            if not self._answered:
                return state.attempt_number >= _FIRST_ATTEMPTS
            return state.attempt_number >= 2 and (state.seconds_since_start or 0) >= self._patience

        return Retrying(
            retry=retry_if_exception(_may_be_repeated),
            stop=enough,
            wait=_pause,
            sleep=sleep_using_event(self._closed),
            reraise=True,
        )

    def _send(
        self, method: str, path: str, query: Mapping[str, object], body: object, timeout: float, stream: bool,
        content_type: str = "application/json",
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        """A request that may be repeated as it is."""
        return self._attempts()(self._once, method, path, query, body, timeout, stream, content_type)

    def _refusal(self, response: urllib3.BaseHTTPResponse, what: str) -> ApiError | CannotMeasure:
        try:
            body = json.loads(response.data)
            reason, message = str(body.get("reason", "")), str(body.get("message", ""))
        except (ValueError, AttributeError):
            reason, message = response.reason or "", response.data[:200].decode(errors="replace")
        response.drain_conn()
        if response.status == 401:
            if has_expired(self._configuration.cert_file or ""):
                return unreachable(self.host, Exception(message), self._configuration.cert_file)
            return CannotMeasure(
                f"{self.host} rejected our credentials (401 Unauthorized): {message or reason}",
                "The kubeconfig's token or client certificate is missing, expired or of another cluster; "
                "log in again and try `kubectl get nodes`.",
            )
        asked = 0.0
        with contextlib.suppress(urllib3.exceptions.InvalidHeader):
            asked = min(_LONGEST_ASKED, Retry().get_retry_after(response) or 0.0)
        return ApiError(response.status, reason, message, what, asked)

    def _object(self, response: urllib3.BaseHTTPResponse) -> Object:
        try:
            found = json.loads(response.data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CannotMeasure(
                f"{self._where} answered with something that is not a Kubernetes object",
                "Is the kubeconfig's server an API server? A proxy or a login page may answer in its place.",
            )
        return found

    def get(self, path: str, **query: object) -> Object:
        return self._object(self._send("GET", path, query, None, _READ, False))

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
            return self._object(self._send("POST", path, {"dryRun": "All"}, obj, _READ, False))
        with self._creating:
            if self._no_more_objects:
                raise CannotMeasure("the run is over")
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
        for attempt in self._attempts():
            with attempt:
                try:
                    return self._object(self._once("POST", path, {}, marked, _READ, False))
                except ApiError as error:
                    first = attempt.retry_state.attempt_number == 1
                    if first or _may_be_repeated(error):
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
        answer = self._object(self._send("POST", path, {}, body, _READ, False))
        return answer.get("status") or {}

    def patch(self, path: str, change: Object) -> Object:
        """A JSON merge patch (RFC 7396)."""
        return self._object(
            self._send("PATCH", path, {}, change, _READ, False, "application/merge-patch+json")
        )

    def delete(self, path: str, **options: object) -> None:
        """Delete; what is not there any more is no error."""
        try:
            self._send("DELETE", path, {}, dict(options) or None, _READ, False)
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
        asked = {
            "watch": "true",
            "resourceVersion": listed["metadata"]["resourceVersion"],
            "timeoutSeconds": max(1, int(seconds)),
        }
        response = self._send("GET", path, {**query, **asked}, None, seconds + 5, True)
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
        if self._closed.is_set():
            raise CannotMeasure("the run is over")
        query = [("container", container), *(("command", word) for word in command)]
        query += [("stdin", "true"), ("stdout", "true"), ("stderr", "true"), ("tty", "false")]
        address = f"{self.host}{path_of(('v1', 'Pod'), namespace, pod)}/exec?{urlencode(query)}"
        what = f"exec into pod {namespace}/{pod}"
        try:
            return connect(self._configuration, address.replace("http", "ws", 1), self._headers(), timeout)
        except WebSocketBadStatusException as error:
            message = status_message(error)
            if error.status_code in _REPEATED:
                raise Unreachable(f"{what} failed: {message}", _EXEC_REMEDY) from error
            if error.status_code == 403:
                raise CannotMeasure(
                    f"{what} is forbidden: {message}",
                    "Probes start inside pods: kubereach needs `create` and `get` on pods/exec in its namespaces.",
                ) from error
            raise CannotMeasure(f"{what} failed: {message}", _EXEC_REMEDY) from error
        except (WebSocketException, OSError, ValueError) as error:
            text = str(error).partition(" -+-+- ")[0].strip()
            raise Unreachable(
                f"{what} failed: {text.splitlines()[0] if text else type(error).__name__}", _EXEC_REMEDY
            ) from error

    def close(self) -> None:
        """Let go of all connections. A request that is being repeated ends; further ones raise `CannotMeasure`."""
        self._closed.set()
        self._client.close()  # type: ignore[no-untyped-call]


_EXEC_REMEDY = "Try `kubectl exec`; a proxy between here and the API server must let WebSockets pass."


def _may_be_repeated(error: BaseException) -> bool:
    """Whether the next attempt of a request may well succeed."""
    if isinstance(error, ApiError):
        # a patch meets a conflict where the server has lost to others several times
        return error.status in _REPEATED or (error.status == 409 and str(error).startswith("PATCH"))
    return isinstance(error, Unreachable)


_GROWING = wait_random_exponential(multiplier=_PAUSE, max=_LONGEST_PAUSE, min=_PAUSE)


def _pause(state: RetryCallState) -> float:
    """Seconds before the next attempt: the server's, if it names them."""
    error = state.outcome.exception() if state.outcome else None
    return max(_GROWING(state), getattr(error, "retry_after", 0.0))
