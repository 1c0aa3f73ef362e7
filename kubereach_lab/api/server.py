"""The API server: TLS, who is asking, and which handler answers."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from kubereach_lab import status
from kubereach_lab.admission import forbidden, may
from kubereach_lab.api import discovery, newer, reviews
from kubereach_lab.api.bodies import JSON, Representation, encode, negotiate
from kubereach_lab.api.context import Context, answer, plain
from kubereach_lab.api.logs import log
from kubereach_lab.api.objects import Objects, warnings_of
from kubereach_lab.api.portforward import port_forward
from kubereach_lab.api.remote_command import attach, execute
from kubereach_lab.api.requests import Target, flag, parse_path
from kubereach_lab.api.subresources import Subresources
from kubereach_lab.api.watch import watch
from kubereach_lab.config import LabConfig
from kubereach_lab.faults import Faults
from kubereach_lab.kubectl import openapi
from kubereach_lab.pki import Pki
from kubereach_lab.registry import Registry
from kubereach_lab.resources import REVIEWS, groups
from kubereach_lab.runtime import Runtime
from kubereach_lab.schemas import Schemas
from kubereach_lab.status import StatusError

_log = logging.getLogger(__name__)

#: what anybody may ask, certificate or not, as of a real server (ClusterRole system:public-info-viewer)
_PUBLIC = frozenset({"/healthz", "/livez", "/readyz", "/version"})
_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
#: an upload larger than this is refused, as a real server does (3 MiB and some room for strings)
_LONGEST_BODY = 4 * 1024 * 1024
#: what streams have to end by themselves when the server stops
_STOP_SECONDS = 0.1
#: how much later a slow server answers
_SLOW_SECONDS = 0.3
#: one request in so many is what a server that is ill, or busy, cannot answer
_ILL = 20

Handler = Callable[[web.BaseRequest, Target], Awaitable[web.StreamResponse]]


class ApiServer:
    """Serves the objects of a `Registry` and the pods of a `Runtime` as the Kubernetes API, over TLS."""

    def __init__(self, registry: Registry, runtime: Runtime, pki: Pki, config: LabConfig) -> None:
        schemas = Schemas(config.version)
        self._context = Context(registry, runtime, pki, config, schemas)
        self._objects = Objects(self._context)
        self._subresources = Subresources(self._objects)
        self._documents = openapi.Documents(schemas, config)
        self._stopping = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._count = 0
        # a client that leaves ends what it asked for: watches, logs and what exec started
        self._http = web.Server(self._handle, handler_cancellation=True, access_log=None)

    async def start(self, *sockets: socket.socket) -> None:
        """Begins to answer on sockets that are bound and listen already."""
        context = self._context.pki.server_context()
        loop = asyncio.get_running_loop()
        for listening in sockets:
            self._servers.append(await loop.create_server(self._http, sock=listening, ssl=context))

    async def stop(self) -> None:
        """Closes the sockets, ends the watches and what else is under way."""
        self._stopping.set()
        for server in self._servers:
            server.close()
        await self._http.shutdown(_STOP_SECONDS)
        self._servers.clear()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if request.path not in _PUBLIC and not self._knows(request):
                raise status.unauthorized()
            return newer.response(await self._route(request), self._context.config.faults)
        except StatusError as error:
            return _refusal(error)
        except (asyncio.CancelledError, ConnectionResetError):
            raise
        except Exception as error:
            _log.exception("%s %s", request.method, request.path)
            return answer(status.internal_error(f"{type(error).__name__}: {error}").status, code=500)

    def _knows(self, request: web.BaseRequest) -> bool:
        """Whether the client has shown a certificate, or a token of the lab's."""
        transport = request.transport
        if transport is not None and transport.get_extra_info("peercert"):
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and token.strip() in self._context.pki.tokens

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        parts = path.strip("/").split("/")
        if parts[0] in ("api", "apis") and len(parts) >= (3 if parts[0] == "api" else 4):
            target = parse_path(path)
            if self._context.config.minor < target.resource.since:
                raise status.no_such_path()
            try:
                return await self._resource(request, target)
            except StatusError as error:
                return _refusal(error, warnings_of(self._context.config.minor, target.resource))
        found = self._static(request, path.rstrip("/") or "/", parts)
        if found is None:
            if parts[0] in ("api", "apis") and (parts[0] == "api" or len(parts) == 3):
                group = parts[1] if parts[0] == "apis" else ""
                if group in groups(self._context.config.minor):
                    raise status.no_such_path()
            return plain("404 page not found\n", 404)
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        return found

    def _static(self, request: web.BaseRequest, path: str, parts: list[str]) -> web.Response | None:
        """Everything that is no resource: discovery, health, version, schemas."""
        config = self._context.config
        if path in _HEALTH:
            return plain(discovery.health(path, request.query))
        if path == "/version":
            return answer(discovery.version(config))
        if path in ("/api", "/apis"):
            return self._groups(request, core=path == "/api")
        if parts[:2] == ["openapi", "v3"]:
            return self._openapi(parts[2:])
        if path == "/":
            return answer(discovery.root_paths(config.minor))
        body = None
        if parts[0] == "api" and len(parts) == 2:
            body = discovery.resource_list(config.minor, "", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            body = discovery.group(config.minor, parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            body = discovery.resource_list(config.minor, parts[1], parts[2])
        return answer(body) if body is not None else None

    def _groups(self, request: web.BaseRequest, *, core: bool) -> web.Response:
        form = negotiate(request.headers.get("Accept", ""), discovery=True)
        config = self._context.config
        if form.convert != "APIGroupDiscoveryList":
            return answer(discovery.legacy_versions(config) if core else discovery.group_list(config.minor))
        response = answer(discovery.aggregated(config.minor, form, core=core))
        kind = f"g=apidiscovery.k8s.io;v={form.version};as=APIGroupDiscoveryList"
        response.headers["Content-Type"] = f"{JSON};{kind}"
        response.headers["Vary"] = "Accept"
        return response

    def _openapi(self, parts: list[str]) -> web.Response | None:
        if not parts:
            # a real server says text/plain of this JSON
            return plain(encode(openapi.index(self._context.config)).decode())
        group, version = ("", parts[-1]) if parts[0] == "api" else (parts[1], parts[-1])
        if len(parts) != (2 if parts[0] == "api" else 3):
            return None
        document = self._documents.document(group, version)
        return web.Response(body=document, content_type=JSON) if document is not None else None

    async def _resource(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        method, resource = request.method, target.resource
        if target.subresource in ("exec", "portforward", "attach", "proxy", "log"):
            return await self._stream(request, target)
        text = await _body(request)
        if faults := self._context.config.faults:
            await self._disturb(method, faults)
        content_type = request.headers.get("Content-Type", "")
        form = negotiate(request.headers.get("Accept", ""))
        if resource in REVIEWS:
            if method != "POST" or target.name:
                raise status.method_not_allowed()
            if resource.name == "bindings":
                return self._subresources.bind(target, form, text, content_type)
            return reviews.review(resource, form, text, content_type, faults)
        if target.subresource not in ("", "status"):
            return self._subresource(request, target, form, text, content_type)
        if method == "POST" and not may("create", resource.name, target.namespace, faults):
            raise forbidden("create", resource.name, target.namespace)
        objects, query = self._objects, request.query
        if method in ("GET", "HEAD"):
            watching = target.watch or flag({"watch": query["watch"]} if "watch" in query else {}, "watch")
            if watching and (not target.name or target.watch):
                return await watch(request, objects.registry, target, form, self._stopping)
            if target.name:
                return objects.get(target, form, query)
            return objects.collection(target, form, query)
        if method == "POST" and not target.name:
            return objects.create(target, form, query, text, content_type)
        if method == "PUT" and target.name:
            return objects.update(target, form, query, text, content_type)
        if method == "PATCH" and target.name:
            return objects.patch(target, form, query, text, content_type)
        if method == "DELETE" and not target.subresource:
            if target.name:
                return objects.delete(target, form, query, text)
            return objects.delete_collection(target, form, query, text)
        raise status.method_not_allowed()

    async def _disturb(self, method: str, faults: Faults) -> None:
        """api.slow, api.busy and api.fails-to-read. Raises `StatusError`."""
        if faults.api.slow:
            await asyncio.sleep(_SLOW_SECONDS)
        self._count += 1
        if self._count % _ILL:
            return
        if faults.api.busy:
            text = "too many requests, please try again later."
            raise StatusError(429, "TooManyRequests", text, {"retryAfterSeconds": 1})
        if faults.api.fails_to_read and method == "GET":
            raise status.internal_error("etcdserver: request timed out")

    def _subresource(
        self, request: web.BaseRequest, target: Target, form: Representation, text: bytes, content_type: str
    ) -> web.Response:
        sub, method, query = self._subresources, request.method, request.query
        if target.subresource == "scale" and method in ("GET", "PUT", "PATCH"):
            return sub.scale(method, target, form, query, text, content_type)
        if target.subresource == "binding" and method == "POST":
            return sub.bind(target, form, text, content_type)
        if target.subresource == "eviction" and method == "POST":
            return sub.evict(target, form, query, text, content_type)
        if target.subresource == "token" and method == "POST":
            return sub.token(target, form, text, content_type)
        if target.subresource == "ephemeralcontainers":
            if method == "GET":
                return self._objects.get(target, form, query)
            raise status.not_implemented("the lab has no ephemeral containers")
        if target.subresource == "finalize" and method == "PUT":
            return self._objects.update(target, form, query, text, content_type)
        raise status.method_not_allowed()

    async def _stream(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        if target.subresource == "proxy":
            # here, since h11 takes every lab's start 10 ms, and few ask for this
            from kubereach_lab.api import proxy

            return await proxy.proxy(request, self._context, target)
        if target.subresource == "log":
            if request.method != "GET":
                raise status.method_not_allowed()
            return await log(request, self._context, target)
        if request.method not in ("GET", "POST"):
            raise status.method_not_allowed()
        if target.subresource == "exec":
            return await execute(request, self._context, target)
        if target.subresource == "portforward":
            return await port_forward(request, self._context, target)
        return await attach(request, self._context, target)


def _refusal(error: StatusError, warnings: Iterable[str] = ()) -> web.Response:
    response = answer(error.status, code=error.code, warnings=warnings)
    if seconds := (error.status.get("details") or {}).get("retryAfterSeconds"):
        response.headers["Retry-After"] = str(seconds)
    return response


async def _body(request: web.BaseRequest) -> bytes:
    length = request.content_length
    if length is not None and length > _LONGEST_BODY:
        text = f"Request entity too large: limit is {_LONGEST_BODY}"
        raise StatusError(413, "RequestEntityTooLarge", text, {})
    return await request.read() if request.can_read_body else b""
