"""What load balancers ask a node's service proxy: has this node endpoints of a Service, and is it healthy itself?

Sources: https://kubernetes.io/docs/tutorials/services/source-ip/ (healthCheckNodePort), KEP-3836 (/healthz on 10256).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from kubereach_lab.config import LabConfig
from kubereach_lab.network import Host
from kubereach_lab.times import now

Object = dict[str, Any]
#: (namespace, name) of a Service
Key = tuple[str, str]
Stop = Callable[[], Awaitable[None]]
#: where kube-proxy tells of itself
_HEALTHZ_PORT = 10256
#: and, to programs of the node alone, of its mode
_MODE_PORT = 10249
#: a node that the autoscaler takes away should get no new connections
_GOING = "ToBeDeletedByClusterAutoscaler"


class HealthChecks:
    """The health-check servers of one node: one for each Service that has a health-check node port, one for the node.

    They answer with the number of ready endpoints on the node: 200 if there are any, else 503.
    """

    def __init__(
        self, host: Host, config: LabConfig, report: Callable[[Object, str, str], None], *, last_node: bool
    ) -> None:
        """`report` records a warning about a Service: object, reason, message."""
        self._host = host
        self._families = [plan.family for plan in config.plans]
        self._report = report
        faults = config.faults
        self._always_ok = faults.proxy.health_check_always_ok
        self._mode = config.proxy_mode
        # what one node alone is to get wrong the last one does
        if last_node and faults.proxy.other_mode:
            self._mode = "nftables" if self._mode == "iptables" else "iptables"
        self._healthy = not (last_node and faults.proxy.unhealthy)
        self._served: dict[Key, tuple[int, Stop | None]] = {}
        self._local: dict[Key, int] = {}
        self._node_eligible = True

    async def start(self) -> None:
        """Begin to answer for the service proxy itself."""
        await self._serve(_HEALTHZ_PORT, self._healthz)
        await self._serve(_MODE_PORT, self._proxy_mode, "127.0.0.1" if self._families[0] == "IPv4" else "::1")

    def node_changed(self, node: Object) -> None:
        """A node that is going away says so, for load balancers to send new connections elsewhere."""
        taints = node["spec"].get("taints") or []
        going = "deletionTimestamp" in node["metadata"] or any(t["key"] == _GOING for t in taints)
        self._node_eligible = not going

    async def sync(self, key: Key, service: Object | None, slices: Iterable[Object]) -> None:
        """Answer for a Service as it is now; None if there is none.

        If a process of the node holds the port there is no health check on this node, which an event tells.
        """
        port = service["spec"].get("healthCheckNodePort", 0) if service else 0
        if port:
            self._local[key] = _ready_on(self._host.name, slices)
        had, stop = self._served.get(key, (0, None))
        if port == had:
            return
        if stop is not None:
            await stop()
        self._served.pop(key, None)
        if service is None or not port:
            self._local.pop(key)
            return
        try:
            self._served[key] = port, await self._serve(port, self._service_check(key))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            self._served[key] = port, None
            reason = f'node {self._host.name} failed to start healthcheck "{"/".join(key)}" on port {port}'
            self._report(service, "FailedToStartServiceHealthcheck", f"{reason}: {error.strerror}")

    async def _serve(
        self,
        port: int,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        address: str = "",
    ) -> Stop:
        """Answer on a port of the node; returns what ends it, with the connections that are open."""
        listener = await self._host.listen(address, port, dual_stack=not address and "IPv6" in self._families)
        handler = web.Server(answer, access_log=None)
        server = await asyncio.get_running_loop().create_server(handler, sock=listener)

        async def stop() -> None:
            server.close()
            await handler.shutdown(0)

        return stop

    def _service_check(self, key: Key) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def answer(_request: web.BaseRequest) -> web.StreamResponse:
            local = self._local.get(key)
            if local is None:  # it was under way when the Service went: kube-proxy answers with nothing
                return web.Response()
            body = {
                "service": {"namespace": key[0], "name": key[1]},
                "localEndpoints": local,
                "serviceProxyHealthy": True,
            }
            return _json(body, local > 0 or self._always_ok, {"X-Load-Balancing-Endpoint-Weight": str(local)})

        return answer

    async def _proxy_mode(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/proxyMode":
            raise web.HTTPNotFound
        return web.Response(text=self._mode)

    async def _healthz(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/healthz":
            raise web.HTTPNotFound
        body = {
            "lastUpdated": now(),
            "currentTime": now(),
            "nodeEligible": self._node_eligible,
            "healthy": self._healthy,
            "status": {family: {"lastUpdated": now(), "healthy": self._healthy} for family in self._families},
        }
        return _json(body, self._node_eligible and self._healthy, {})


def _json(body: Object, good: bool, headers: dict[str, str]) -> web.Response:
    nosniff = {"X-Content-Type-Options": "nosniff"}
    return web.json_response(body, status=200 if good else 503, headers={**nosniff, **headers})


def _ready_on(node: str, slices: Iterable[Object]) -> int:
    """How many ready endpoints are on a node; one in slices of two families is one."""
    found = set()
    for part in slices:
        for endpoint in part.get("endpoints") or []:
            if endpoint.get("nodeName") == node and (endpoint.get("conditions") or {}).get("ready", True):
                target = endpoint.get("targetRef") or {}
                found.add(target.get("uid") or endpoint["addresses"][0])
    return len(found)
