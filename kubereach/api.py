"""Requests to the API server: plain objects in, plain objects out, by the official client's connection.

The client's generated models are left aside: building and reading them costs milliseconds for each object. Its
configuration, certificates, proxies, tokens and exec plugins are all in use.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from cryptography import x509
from kubernetes.client import ApiClient
from kubernetes.stream.ws_client import create_websocket
from websocket import WebSocketException

from kubereach.connection import configuration, proxy_of
from kubereach.errors import CannotMeasure
from kubereach.targets import ClusterAccess

Object = dict[str, Any]

#: seconds before each further attempt of a request that the server may well answer next time
_PAUSES = (0.1, 0.3, 1.0, 3.0)

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

    def __init__(self, status: int, reason: str, message: str, what: str) -> None:
        self.status = status
        self.reason = reason
        self.message = message
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

    Raises `ApiError` when the server refuses, `CannotMeasure` when it cannot be reached or does not let us in.
    """

    def __init__(self, access: ClusterAccess) -> None:
        self._configuration = configuration(access)
        self._client = ApiClient(self._configuration)
        self._proxy = proxy_of(self._configuration)
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

    def _send(
        self, method: str, path: str, query: Mapping[str, object], body: object, timeout: float, stream: bool,
        content_type: str = "application/json",
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        url = self.host + path + ("?" + urlencode(query) if query else "")
        headers = self._headers()
        if body is not None:
            headers["Content-Type"] = content_type
        for pause in (*_PAUSES, None):
            try:
                response: urllib3.BaseHTTPResponse = self._client.rest_client.pool_manager.request(
                    method,
                    url,
                    body=None if body is None else json.dumps(body),
                    headers=headers,
                    timeout=urllib3.Timeout(connect=10.0, read=timeout),
                    retries=False,
                    preload_content=not stream,
                )
            except (urllib3.exceptions.HTTPError, OSError, ssl.SSLError) as error:
                raise unreachable(self._where, error, self._configuration.cert_file) from error
            if response.status < 400:
                return response
            if pause is None or not _may_be_repeated(method, response):
                break
            response.drain_conn()
            time.sleep(_asked_pause(response) or pause)
        raise self._refusal(response, f"{method} {path}")

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
                f"{self.host} does not know us (401 Unauthorized): {message or reason}",
                "The kubeconfig's token or client certificate is missing, expired or of another cluster; "
                "log in again and try `kubectl get nodes`.",
            )
        return ApiError(response.status, reason, message, what)

    def get(self, path: str, **query: object) -> Object:
        response = self._send("GET", path, query, None, 30.0, False)
        found: Object = json.loads(response.data)
        return found

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
        meta = obj["metadata"]
        path = path_of((obj["apiVersion"], obj["kind"]), meta.get("namespace", ""))
        response = self._send("POST", path, {"dryRun": "All"} if dry_run else {}, obj, 30.0, False)
        created: Object = json.loads(response.data)
        return created

    def review(self, spec: Object) -> Object:
        """The status of a SelfSubjectAccessReview."""
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        response = self._send("POST", path, {}, body, 30.0, False)
        answer: Object = json.loads(response.data)
        return answer.get("status") or {}

    def patch(self, path: str, change: Object) -> Object:
        """A JSON merge patch (RFC 7396)."""
        response = self._send("PATCH", path, {}, change, 30.0, False, "application/merge-patch+json")
        patched: Object = json.loads(response.data)
        return patched

    def delete(self, path: str, **options: object) -> None:
        """Delete; what is not there any more is no error."""
        try:
            self._send("DELETE", path, {}, dict(options) or None, 30.0, False)
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
        except (urllib3.exceptions.HTTPError, OSError):
            return  # a connection that was dropped: whether the server is there at all the next request tells
        finally:
            # an unfinished stream cannot be used for another request
            response.close()

    def exec(self, namespace: str, pod: str, command: list[str]) -> Any:
        """Start `command` in the pod with standard input attached; gives the client's WebSocket.

        Raises `CannotMeasure` when exec is forbidden or fails.
        """
        # CoreV1Api's own method does no more than this, and importing it costs half a second
        query = [("command", word) for word in command]
        query += [("stdin", "true"), ("stdout", "true"), ("stderr", "true"), ("tty", "false")]
        address = f"{self.host}{path_of(('v1', 'Pod'), namespace, pod)}/exec?{urlencode(query)}"
        try:
            return create_websocket(  # type: ignore[no-untyped-call]
                self._configuration, address.replace("http", "ws", 1), self._headers()
            )
        except (WebSocketException, OSError, ValueError) as error:
            text = str(error)
            if "403" in text or "orbidden" in text:
                raise CannotMeasure(
                    f"exec into pod {namespace}/{pod} is forbidden",
                    "Probes start inside pods: kubereach needs `create` and `get` on pods/exec in its namespaces.",
                ) from error
            raise CannotMeasure(
                f"exec into pod {namespace}/{pod} failed: {text.splitlines()[0] if text else 'no reason given'}",
                "Try `kubectl exec`; a proxy between here and the API server must let WebSockets pass.",
            ) from error

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]


def _may_be_repeated(method: str, response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the server did nothing and may do it next time: it had no time (429), or failed to read (5xx)."""
    return response.status == 429 or (method == "GET" and response.status >= 500)


def _asked_pause(response: urllib3.BaseHTTPResponse) -> float:
    """The seconds after which the server wants to be asked again, 0 if it does not say; no more than our longest."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), _PAUSES[-1]) if text.isdecimal() else 0.0


def unreachable(host: str, error: BaseException, certificate: str | None = None) -> CannotMeasure:
    """Why there is no talking to the API server, in one line, and what to do.

    `certificate` is the client's own, whose expiry a server may answer by just closing the connection.
    """
    text, reason = str(error), _root(error)
    # a failure to connect at all comes before certificates are looked at
    connected = not isinstance(
        error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )
    if connected and ("expired" in text.lower() or has_expired(certificate or "")):
        return CannotMeasure(
            f"a certificate is expired between here and {host}",
            "Renew the kubeconfig (kubeadm certs renew, or your provider's login) and check this machine's clock.",
        )
    if "certificate verify failed" in text or "CertificateError" in text or "doesn't match" in text:
        return CannotMeasure(
            f"the certificate of {host} is not trusted: {reason}",
            "The kubeconfig's certificate-authority is of another cluster, or the address is not in the certificate.",
        )
    if isinstance(error, urllib3.exceptions.SSLError):
        return CannotMeasure(
            f"no TLS with {host}: {reason}", "Is the server's address in the kubeconfig right?"
        )
    return CannotMeasure(
        f"the API server {host} cannot be reached: {reason}",
        "Is the cluster up, and the kubeconfig's server address right? Try `kubectl version`.",
    )


def _root(error: BaseException) -> str:
    """urllib3 wraps reasons in reasons; the innermost is the one that says something."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return (str(error).strip() or type(error).__name__)[:200]


def has_expired(certificate: str) -> bool:
    """Whether the first certificate of a PEM file is past its time; false when it cannot be read."""
    try:
        found = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    except (OSError, ValueError):
        return False
    return found.not_valid_after_utc < datetime.now(timezone.utc)
