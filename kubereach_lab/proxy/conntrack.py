"""UDP flows that a change of endpoints leaves behind: their connection tracking entries are deleted.

A TCP connection ends with its endpoint. UDP has no end that the kernel could see: as long as a client goes on sending
from one port, its flow is translated as it was at first, also to an endpoint that has gone.
Source: kube-proxy's cleaning of stale entries (pkg/proxy/conntrack of Kubernetes), and what changed in it: kubernetes
#127318 (1.32), #139629 (1.37).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from kubereach_lab import versions
from kubereach_lab.config import AddressPlan
from kubereach_lab.network import Host
from kubereach_lab.proxy import ctnetlink
from kubereach_lab.proxy.ctnetlink import Flow

#: what a client sends to: an address and a port, or "" and a node port
Frontend = tuple[str, int]
#: address and port of an endpoint
Backend = tuple[str, int]
#: seconds for which the kernel keeps no TCP connection but one that is open
_OPEN = 400_000


class UdpFlows:
    """The UDP flows of one node through Services: which of them may be stale, and their end."""

    def __init__(self, host: Host, plan: AddressPlan, minor: int) -> None:
        """`minor` is Kubernetes' minor version: what becomes of flows without an endpoint has changed twice."""
        self._host = host
        self._family = socket.AF_INET if plan.version == 4 else socket.AF_INET6
        self._compares = minor >= versions.FLOWS_COMPARED
        self._forgets = self._compares and minor < versions.EMPTIED_FLOWS_ENDED
        #: every endpoint that a flow to this frontend may still be translated to
        self._used: dict[Frontend, frozenset[Backend]] = {}

    def outdated(
        self, wanted: Mapping[Frontend, frozenset[Backend]], deleted: Iterable[Frontend] = ()
    ) -> dict[Frontend, frozenset[Backend]]:
        """Of the frontends with their serving endpoints, those with flows to end: to any endpoint but the given ones.

        To 1.31 it is all flows of a frontend that gets its first endpoint, with the answers that are under way.
        In some versions a frontend without serving endpoints keeps its flows, as does that of a deleted Service: they
        go on to the old pod for as long as it lives. They end when there is somewhere else to go.
        """
        found = {}
        for frontend in deleted:
            if self._used.pop(frontend, None) and not self._compares:
                found[frontend] = frozenset[Backend]()
        for frontend, serving in wanted.items():
            if not serving and self._forgets:
                continue
            if serving and not self._used.get(frontend) and not self._compares:
                found[frontend] = frozenset()
            elif not self._used.get(frontend, serving) <= serving:
                found[frontend] = serving
            self._used[frontend] = serving
        return found

    async def end(self, outdated: Mapping[Frontend, frozenset[Backend]]) -> None:
        """Delete the entries of flows through these frontends to any endpoint but theirs."""
        if outdated:
            await self._host.do(_delete, outdated, self._family)


def _delete(outdated: Mapping[Frontend, frozenset[Backend]], family: int) -> None:
    # as the kernel's addresses are written
    known = {(str(ip_address(host)) if host else "", port): b for (host, port), b in outdated.items()}
    # one walk through the kernel's table, which takes it some 20 ms, for each port
    for port in {port for _, port in outdated}:
        ctnetlink.end(family, [flow for flow in ctnetlink.udp_flows(family, port) if _stale(flow, known)])


def _stale(flow: Flow, outdated: Mapping[Frontend, frozenset[Backend]]) -> bool:
    """Whether it is a frontend's flow to something that is no endpoint of its any more."""
    address, port = flow.to
    backends = outdated.get((address, port), outdated.get(("", port)))
    return backends is not None and flow.by not in backends


async def end_tcp(host: Host, plan: AddressPlan, frontends: Collection[Frontend]) -> None:
    """What no service proxy should do: end the TCP connections through these frontends."""
    if frontends:
        await host.do(_delete_tcp, plan.version, frontends)


def _delete_tcp(version: int, frontends: Collection[Frontend]) -> None:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with NFCTSocket(nfgen_family=family) as conntrack:
        for address, port in frontends:
            # The kernel picks the entries: thousands of others need not be read. Of IPv6 addresses it picks those that
            # differ (ctnetlink_filter_match_tuple compares the wrong way round): there it gets the port only.
            picked = address if version == 4 else None
            through = NFCTAttrTuple(family=family, proto=socket.IPPROTO_TCP, daddr=picked, dport=port)
            for entry in list(conntrack.dump(tuple_orig=through)):
                original = NFCTAttrTuple.from_netlink(family, entry.get_attr("CTA_TUPLE_ORIG"))
                # hundreds of connections are only remembered still
                if original.daddr == address and entry.get_attr("CTA_TIMEOUT") > _OPEN:
                    with contextlib.suppress(NetlinkError):  # it has ended meanwhile
                        conntrack.entry("del", tuple_orig=original)


def udp_frontends(
    service: dict[str, Any], slices: Sequence[dict[str, Any]], addresses: Iterable[str]
) -> dict[Frontend, frozenset[Backend]]:
    """The UDP frontends of a Service, with all of its serving endpoints, wherever they are.

    Traffic policies, topology and termination play no part, so that a change of the Service leaves its flows alone.
    `addresses` are those that the proxy captures for it; `slices` are of their family.
    """
    frontends: dict[Frontend, frozenset[Backend]] = {}
    for port in service["spec"].get("ports") or []:
        if port.get("protocol", "TCP") != "UDP":
            continue
        backends = frozenset(_serving(slices, port.get("name") or ""))
        for address in addresses:
            frontends[address, port["port"]] = backends
        if port.get("nodePort"):
            frontends["", port["nodePort"]] = backends
    return frontends


def _serving(slices: Iterable[dict[str, Any]], port_name: str) -> Iterable[Backend]:
    for part in slices:
        for port in part.get("ports") or []:
            if (port.get("name") or "") != port_name or port.get("protocol") != "UDP" or not port.get("port"):
                continue
            for endpoint in part.get("endpoints") or []:
                conditions = endpoint.get("conditions") or {}
                if conditions.get("serving", conditions.get("ready", True)):
                    yield endpoint["addresses"][0], port["port"]
