"""``proxy``: HTTP through the API server to a pod, to an endpoint of a Service, or to a node's kubelet.

Source: https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from dataclasses import dataclass

import h11
from aiohttp import web

from kubereach_lab import status
from kubereach_lab.api.context import Context, answer, plain
from kubereach_lab.api.requests import Target, parse_path
from kubereach_lab.endpointslices import slices_of
from kubereach_lab.status import Object

_BLOCK = 64 * 1024
_KUBELET_PORT = "10250"
#: what OpenSSL calls an answer that is no TLS at all
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE"})
#: headers of one hop (RFC 9110 section 7.6.1), and those that the client library sets itself
_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "accept-encoding",
        "authorization",
    }
)


@dataclass(frozen=True)
class _Name:
    """``[scheme:]name[:port]``"""

    scheme: str
    name: str
    port: str

    @classmethod
    def parse(cls, text: str) -> _Name:
        parts = text.split(":")
        if len(parts) == 3:
            return cls(parts[0] or "http", parts[1], parts[2])
        return cls("http", parts[0], parts[1] if len(parts) == 2 else "")


class _HangUp(Exception):
    """The client gets no answer."""


def _unavailable(why: str) -> status.StatusError:
    return status.StatusError(503, "ServiceUnavailable", why)


def _pod_backend(context: Context, target: Target, name: _Name) -> tuple[Object, int]:
    pod = context.registry.get("pods", target.namespace, name.name)
    if not (pod.get("status") or {}).get("podIP"):
        raise status.bad_request("address not allowed")
    if name.port:
        if not name.port.isdigit():
            # only Services' ports have names here; a real server trips over this one and hangs up
            raise _HangUp
        return pod, int(name.port)
    ports = [p for c in pod["spec"]["containers"] for p in c.get("ports") or ()]
    return pod, int(ports[0]["containerPort"]) if ports else 80


def _service_backend(context: Context, target: Target, name: _Name) -> tuple[Object, int]:
    registry = context.registry
    service = registry.get("services", target.namespace, name.name)
    namespace = service["metadata"]["namespace"]
    ports = service["spec"].get("ports") or []
    none = f'no endpoints available for service "{name.name}"'
    if not name.port:
        # as a real server: without a port only an unnamed endpoint port is found, and a scheme's own is not assumed
        chosen = next((p for p in ports if not p.get("name")), None)
        if chosen is None:
            raise _unavailable(none)
    else:
        chosen = next((p for p in ports if name.port in (p.get("name"), str(p["port"]))), None)
        if chosen is None:
            raise _unavailable(f'no service port {name.port} found for service "{name.name}"')
    ready: list[tuple[Object, int]] = []
    for slice_ in slices_of(registry, namespace, name.name):
        numbers = [
            p["port"]
            for p in slice_.get("ports") or ()
            if p.get("name", "") == chosen.get("name", "") and p.get("port")
        ]
        for endpoint in slice_.get("endpoints") or ():
            reference = endpoint.get("targetRef") or {}
            if endpoint["conditions"].get("ready") is False or reference.get("kind") != "Pod" or not numbers:
                continue
            pod = registry.find("pods", reference.get("namespace"), reference["name"])
            if pod is not None:
                ready.append((pod, numbers[0]))
    if not ready:
        raise _unavailable(none)
    return random.choice(ready)


async def proxy(request: web.BaseRequest, context: Context, target: Target) -> web.StreamResponse:
    """Passes a request on to a pod, Service or node and its answer back. Raises `StatusError`."""
    try:
        return await _proxy(request, context, target)
    except _HangUp:
        if request.transport is not None:
            request.transport.close()
        return web.Response()


async def _proxy(request: web.BaseRequest, context: Context, target: Target) -> web.StreamResponse:
    if not target.rest:
        return web.Response(status=301, headers={"Location": f"{request.path}/"})
    # as the client wrote it: what it quoted stays quoted
    written = request.rel_url.raw_path
    path = parse_path(written).rest
    prefix = written.removesuffix(path)
    name = _Name.parse(target.name)
    if target.resource.name == "nodes":
        node = context.registry.get("nodes", None, name.name)
        if name.port in ("", _KUBELET_PORT):
            return _kubelet(context, node, target.rest)
        pod, port = _node_backend(node, name)
    elif target.resource.name == "pods":
        pod, port = _pod_backend(context, target, name)
    else:
        pod, port = _service_backend(context, target, name)
    if name.scheme not in ("http", "https"):
        raise status.bad_request(f"invalid scheme {status.quoted(name.scheme)}")
    return await _pass_on(request, context, pod, port, path, prefix, tls=name.scheme == "https")


def _node_backend(node: Object, name: _Name) -> tuple[Object, int]:
    """A node's own port, as if of a pod on its network."""
    if not name.port.isdigit():
        raise _HangUp
    addresses = (node.get("status") or {}).get("addresses") or ()
    address = next((a["address"] for a in addresses if a["type"] == "InternalIP"), "")
    pod = {"metadata": {"name": name.name}, "spec": {"nodeName": name.name}, "status": {"podIP": address}}
    return pod, int(name.port)


def _kubelet(context: Context, node: Object, path: str) -> web.Response:
    """What a kubelet serves, as far as the lab's do: that it is well, and its pods."""
    if path == "/healthz":
        return plain("ok")
    if path in ("/pods", "/pods/"):
        name = node["metadata"]["name"]
        pods = context.registry.list("pods", where=lambda pod: bool(pod["spec"].get("nodeName") == name))
        return answer({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
    return plain("404 page not found\n", 404)


async def _pass_on(
    request: web.BaseRequest,
    context: Context,
    pod: Object,
    port: int,
    path: str,
    prefix: str,
    *,
    tls: bool,
) -> web.StreamResponse:
    body = await request.read()
    address = f"{pod['status']['podIP']}:{port}"
    try:
        reader, writer = await context.runtime.dial(pod, port, tls=tls)
    except ssl.SSLError as error:
        why = "first record does not look like a TLS handshake" if error.reason in _NO_TLS else error.reason
        raise _unavailable(f"error trying to reach service: tls: {why}") from error
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        text = f"error trying to reach service: dial tcp {address}: connect: {why}"
        raise _unavailable(text) from error
    try:
        connection = h11.Connection(h11.CLIENT)
        headers = [(key, value) for key, value in request.headers.items() if key.lower() not in _HOP]
        headers += [("Host", address), ("Content-Length", str(len(body))), ("Connection", "close")]
        query = request.rel_url.raw_query_string
        target = f"{path}?{query}" if query else path
        for event in (
            h11.Request(method=request.method, target=target, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return await _answer(request, connection, reader, prefix)
    except (h11.RemoteProtocolError, ConnectionResetError) as error:
        raise _unavailable(f"error trying to reach service: {error}") from error
    finally:
        writer.close()


async def _answer(
    request: web.BaseRequest, connection: h11.Connection, reader: asyncio.StreamReader, prefix: str
) -> web.StreamResponse:
    response: web.StreamResponse | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_BLOCK))
        elif isinstance(event, h11.Response):
            response = web.StreamResponse(status=event.status_code)
            for raw_key, raw_value in event.headers:
                key, value = raw_key.decode(), raw_value.decode("latin-1")
                if key == "location" and value.startswith("/"):
                    value = prefix + value
                if key == "content-length":
                    response.content_length = int(value)
                elif key not in _HOP:
                    response.headers.add(key, value)
            await response.prepare(request)
        elif isinstance(event, h11.Data) and response is not None:
            await response.write(bytes(event.data))
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)) and response is not None:
            await response.write_eof()
            return response
        elif not isinstance(event, h11.InformationalResponse):
            raise ConnectionResetError("EOF")
