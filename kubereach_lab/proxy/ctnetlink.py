"""The kernel's connection tracking over netlink, for flows that are ended by the hundred.

pyroute2 takes an event loop for each request, and so a millisecond for each flow: a node's proxy programmed nothing
else for half a second. Here a request takes as long as the kernel needs, and one message ends many flows.
Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h, nfnetlink.h and netlink.h of Linux.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8, and IPCTNL_MSG_CT_GET or IPCTNL_MSG_CT_DELETE
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_NESTED = 0x8000
_ORIG, _REPLY, _FILTER = 1, 2, 25  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_FILTER
_IP, _PROTO = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_SRC and CTA_IP_V6_SRC, CTA_IP_V4_DST and CTA_IP_V6_DST
_NUMBER, _SOURCE_PORT, _PORT = 1, 2, 3  # CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT
_FILTER_ORIG, _BY_PROTOCOL, _BY_PORT = 1, 1 << 3, 1 << 5  # CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_CTA_PROTO_...
#: flows that one message ends: well within a socket's send buffer
_AT_ONCE = 500

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port
_GENERIC = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type


class Flow(NamedTuple):
    """A tracked flow: what its client sends to, who answers, and the kernel's own words for it."""

    to: tuple[str, int]
    by: tuple[str, int]
    original: bytes


def udp_flows(family: int, port: int) -> list[Flow]:
    """The UDP flows of the calling thread's namespace that were sent to this port. Raises OSError."""
    proto = _attribute(_NUMBER, bytes([socket.IPPROTO_UDP])) + _attribute(_PORT, struct.pack("!H", port))
    wanted = _attribute(_ORIG | _NESTED, _attribute(_PROTO | _NESTED, proto))
    by = _attribute(_FILTER_ORIG, struct.pack("=I", _BY_PROTOCOL | _BY_PORT))
    found = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.send(_message(_GET, _DUMP, family, wanted + _attribute(_FILTER | _NESTED, by)))
        for message in _answers(netlink):
            flow = _flow(family, message)
            # a kernel before 5.8 filters nothing
            if flow is not None and flow.to[1] == port:
                found.append(flow)
    return found


def end(family: int, flows: Sequence[Flow]) -> None:
    """Forget these flows; those that have timed out meanwhile are no error. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        for first in range(0, len(flows), _AT_ONCE):
            some = flows[first : first + _AT_ONCE]
            netlink.send(
                b"".join(
                    _message(_DELETE, 0, family, _attribute(_ORIG | _NESTED, flow.original)) for flow in some
                )
            )


def _message(kind: int, flags: int, family: int, attributes: bytes) -> bytes:
    body = _GENERIC.pack(family, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body


def _attribute(kind: int, payload: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _answers(netlink: socket.socket) -> Iterator[bytes]:
    """The attributes of each message of a dump. Raises OSError when the kernel refuses it."""
    while True:
        data = netlink.recv(1 << 17)
        at = 0
        while at < len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            if kind == _DONE:
                return
            if kind == _ERROR:
                number = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
                raise OSError(number, os.strerror(number))
            yield data[at + _HEADER.size + _GENERIC.size : at + length]
            at += length + -length % 4


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        found[kind & ~_NESTED] = data[at + _ATTRIBUTE.size : at + length]
        at += length + -length % 4
    return found


def _flow(family: int, message: bytes) -> Flow | None:
    """None for what is no UDP flow."""
    attributes = _attributes(message)
    there, back = _attributes(attributes[_ORIG]), _attributes(attributes[_REPLY])
    proto, answers = _attributes(there[_PROTO]), _attributes(back[_PROTO])
    if proto[_NUMBER][0] != socket.IPPROTO_UDP:
        return None
    return Flow(
        (_address(family, there[_IP], _DESTINATIONS), _port(proto[_PORT])),
        (_address(family, back[_IP], _SOURCES), _port(answers[_SOURCE_PORT])),
        attributes[_ORIG],
    )


def _address(family: int, addresses: bytes, kinds: tuple[int, int]) -> str:
    found = _attributes(addresses)
    return socket.inet_ntop(family, found[kinds[0 if family == socket.AF_INET else 1]])


def _port(data: bytes) -> int:
    return int.from_bytes(data, "big")
