"""Keeps the cluster-DNS replicas' records as the API says."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from kubereach_lab.config import LabConfig
from kubereach_lab.dns.records import Object, service_records
from kubereach_lab.endpointslices import service_of, slices_of
from kubereach_lab.registry import Registry


class DnsFeeder:
    """Sends every replica all records when it starts, and then each change as it happens."""

    def __init__(self, config: LabConfig, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._replicas: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}
        self._attached = 0
        registry.subscribe(self._on_change)

    async def attach(self) -> socket.socket:
        """A new replica's end of the stream; what it is sent first is everything."""
        self._attached += 1
        faults = self._config.faults
        empty = faults.dns.one_replica_wrong and self._attached == 2
        slow = faults.dns.one_replica_slow and self._attached == 2
        behind = faults.dns.one_replica_stale and self._attached == 2
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        zone = {"zone": self._config.cluster_domain, "address": self._config.dns_address}
        self._send(
            writer, zone | {"faults": sorted(faults.names), "empty": empty, "behind": behind, "slow": slow}
        )
        self._send(writer, self._namespaces())
        for service in self._registry.list("services"):
            meta = service["metadata"]
            self._send(writer, self._service(meta["namespace"], meta["name"]))
        self._send(writer, {"synced": True})
        self._replicas[writer] = reader  # a stream whose reader nobody keeps is closed
        return theirs

    def _on_change(self, _verb: str, resource: str, new: Object, _old: Object | None) -> None:
        meta = new["metadata"]
        if resource == "services":
            message = self._service(meta["namespace"], meta["name"])
        elif resource == "endpointslices":
            message = self._service(meta["namespace"], service_of(new))
        elif resource == "namespaces":
            message = self._namespaces()
        else:
            return
        for writer in list(self._replicas):
            if writer.is_closing():
                self._replicas.pop(writer)
            else:
                self._send(writer, message)

    def _namespaces(self) -> dict[str, Any]:
        return {
            "namespaces": [namespace["metadata"]["name"] for namespace in self._registry.list("namespaces")]
        }

    def _service(self, namespace: str, name: str) -> dict[str, Any]:
        service = self._registry.find("services", namespace, name)
        records: list[Any] = []
        if service is not None:
            slices = slices_of(self._registry, namespace, name)
            records = service_records(service, slices, self._config.cluster_domain, self._config.faults)
        return {"service": f"{namespace}/{name}", "records": records}

    @staticmethod
    def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
        writer.write(json.dumps(message).encode() + b"\n")
