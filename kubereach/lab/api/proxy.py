"""``proxy``: HTTP through the API server to a pod or to an endpoint of a Service."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass

import h11
from aiohttp import web

from kubereach.lab import status
from kubereach.lab.api.context import Context
from kubereach.lab.api.requests import Target
from kubereach.lab.status import Object

_BLOCK = 64 * 1024
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


def _unavailable(why: str) -> status.StatusError:
    return status.StatusError(503, "ServiceUnavailable", why)


def _pod_backend(context: Context, target: Target, name: _Name) -> tuple[Object, int]:
    pod = context.registry.get("pods", target.namespace, name.name)
    if not (pod.get("status") or {}).get("podIP"):
        raise status.bad_request("address not allowed")
    if name.port:
        if not name.port.isdigit():
            raise status.bad_request(f"no port named {name.port} in pod {name.name}")
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
    for slice_ in registry.list(
        "endpointslices", namespace, labels={"kubernetes.io/service-name": name.name}
    ):
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
    """Passes a request on to a pod or Service and its answer back. Raises `StatusError`."""
    prefix = request.path.removesuffix(target.rest) if target.rest else request.path
    if not target.rest:
        return web.Response(status=301, headers={"Location": f"{request.path}/"})
    name = _Name.parse(target.name)
    if target.resource.name == "pods":
        pod, port = _pod_backend(context, target, name)
    else:
        pod, port = _service_backend(context, target, name)
    if name.scheme != "http":
        raise status.not_implemented("the lab proxies http only")
    return await _pass_on(request, context, pod, port, target.rest, prefix)


async def _pass_on(
    request: web.BaseRequest, context: Context, pod: Object, port: int, path: str, prefix: str
) -> web.StreamResponse:
    body = await request.read()
    address = f"{pod['status']['podIP']}:{port}"
    try:
        reader, writer = await context.runtime.dial(pod, port)
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        text = f"error trying to reach service: dial tcp {address}: connect: {why}"
        raise _unavailable(text) from error
    try:
        connection = h11.Connection(h11.CLIENT)
        headers = [(key, value) for key, value in request.headers.items() if key.lower() not in _HOP]
        headers += [("Host", address), ("Content-Length", str(len(body))), ("Connection", "close")]
        target = f"{path}?{request.query_string}" if request.query_string else path
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
                if key not in _HOP:
                    response.headers.add(key, value)
            await response.prepare(request)
        elif isinstance(event, h11.Data) and response is not None:
            await response.write(bytes(event.data))
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)) and response is not None:
            await response.write_eof()
            return response
        elif not isinstance(event, h11.InformationalResponse):
            raise ConnectionResetError("EOF")
