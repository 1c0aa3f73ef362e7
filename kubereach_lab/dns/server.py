"""The program in a cluster-DNS pod: answers over UDP and TCP from the records that the lab's server sends it.

It stands for CoreDNS with its kubernetes plugin: the same ports (53, health 8080, ready 8181), TTL and negative
answers. Records come over a stream of the lab's own, so that a broken pod network does not make DNS stale as well.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import threading
import time
from random import choice, random
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from kubereach_lab.dns.zone import Answer, Zone
from kubereach_lab.faults import HEALTHY, Faults

TTL = 30
#: seconds for which a server with a cache keeps an answer, as CoreDNS's plugin cache does
_CACHED = 12
_DAY = 86400
_CACHED_ANSWERS = 4096
#: orders of an answer's records that are kept: enough for who takes the first one to get all of few, in the long run
_ORDERS = 8
#: seconds for which a stale server goes on answering what it has answered
_STALE = 60.0
#: seconds after which a slow replica answers
_SLOW = 3.0
#: share of queries over UDP that a server loses that drops some
_DROPPED = 0.05


class DnsServer:
    """Answers queries; one thread for UDP and the records, one for each TCP connection."""

    def __init__(self) -> None:
        self._zone = Zone("cluster.local", "")
        self._lock = threading.Lock()
        self._synced = False
        self._serial = 1
        # Answers of one record are the same every time but for the query's id: worth keeping until the records change.
        self._cache: dict[bytes, bytes] = {}
        self._cached_since = time.monotonic()
        #: of answers of several records, which come in another order each time: a few orders of each
        self._orders: dict[bytes, list[bytes]] = {}
        #: by name and type: what a server with a cache goes on answering, and when it was first answered
        self._kept: dict[tuple[str, str], tuple[Answer, float]] = {}
        self._faults = HEALTHY
        #: dns.one-replica-wrong: this replica knows no Service
        self._empty = False
        #: dns.one-replica-stale: this replica hears of nothing that is gone or is another now
        self._behind = False
        #: dns.one-replica-slow: this replica takes its time
        self._slow = False
        #: of a replica that is behind: the records of each Service
        self._known: dict[str, list[tuple[str, str, str]]] = {}

    def apply(self, message: dict[str, Any]) -> None:
        """Take a message of the lab's server: ``zone``, ``service``, ``namespaces`` or ``synced``."""
        with self._lock:
            self._orders.clear()
            if not self._faults.dns.stale or time.monotonic() > self._cached_since + _STALE:
                self._cache.clear()
                self._cached_since = time.monotonic()
            self._serial += 1
            if "zone" in message:
                self._faults = Faults(message["faults"])
                self._empty, self._behind = bool(message.get("empty")), bool(message.get("behind"))
                self._slow = bool(message.get("slow"))
                self._zone = Zone(message["zone"], message["address"], self._faults)
            if "service" in message and not self._empty:
                self._learn(message["service"], [tuple(record) for record in message["records"]])
            if "namespaces" in message:
                self._zone.set_namespaces(message["namespaces"])
            self._synced = self._synced or bool(message.get("synced"))

    def _learn(self, service: str, records: list[tuple[str, str, str]]) -> None:
        """Take a Service's records; one that is behind hears of none that are not there any more, or are others now."""
        if self._behind:
            if not set(self._known.get(service, ())) <= set(records):
                return
            self._known[service] = records
        self._zone.set_service(service, records)

    def reply(self, data: bytes, limit: int | None) -> bytes | None:
        """The reply to a query, None if it is not one. `limit` is the largest UDP reply without EDNS, None for TCP."""
        if self._faults.dns.down:
            return None
        if limit and self._faults.dns.drops_5_percent and random() < _DROPPED:
            return None
        key = data[2:] if limit else b"tcp" + data[2:]
        orders = self._orders.get(key, ())
        cached = choice(orders) if len(orders) >= _ORDERS else self._cache.get(key)
        if cached is not None:
            return data[:2] + cached
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or not query.question:
            return None
        with self._lock:
            reply, repeatable = self._answer(query)
            wire = self._to_wire(query, reply, limit)
            if (repeatable or self._faults.dns.stale) and len(self._cache) < _CACHED_ANSWERS:
                self._cache[key] = wire[2:]
            elif not self._faults.dns.caches and len(self._orders) < _CACHED_ANSWERS:
                self._orders.setdefault(key, []).append(wire[2:])
        return wire

    def _answer(self, query: dns.message.Message) -> tuple[dns.message.Message, bool]:
        question = query.question[0]
        if query.edns > 0:
            reply = dns.message.make_response(query, our_payload=0)
            reply.set_rcode(dns.rcode.BADVERS)
            return reply, False
        # CoreDNS says back the payload size that the client told, and looks at no class.
        reply = dns.message.make_response(query, our_payload=max(query.payload, 0))
        reply.flags |= query.flags & dns.flags.CD
        if query.opcode() != dns.opcode.QUERY:
            reply.flags &= ~dns.flags.RD
        kind = dns.rdatatype.to_text(question.rdtype)
        if kind in ("AXFR", "IXFR"):
            reply.set_rcode(dns.rcode.REFUSED)
            return reply, False
        name = question.name.to_text(omit_final_dot=True)
        caches = self._faults.dns.caches
        found, ttl = self._from_cache(name, kind) if caches else (self._zone.answer(name, kind), TTL)
        if self._faults.dns.kept_long:
            ttl = _DAY
        reply.set_rcode(dns.rcode.from_text(found.rcode))
        if found.authoritative:
            reply.flags |= dns.flags.AA
        self._fill(reply, question.name, found, ttl)
        if (
            found.soa
            and kind == "SOA"
            and not found.answer
            and question.name.to_text(True).lower() == found.soa
        ):
            reply.answer, reply.authority = reply.authority, []
        return reply, len(found.answer) <= 1 and not caches

    def _from_cache(self, name: str, kind: str) -> tuple[Answer, int]:
        """What was answered last, for as long as it may be kept, and how many seconds that is still."""
        now, key = time.monotonic(), (name.lower(), kind)
        found, since = self._kept.get(key, (None, 0.0))
        if found is None or now >= since + _CACHED:
            found, since = self._zone.answer(name, kind), now
            if len(self._kept) < _CACHED_ANSWERS:
                self._kept[key] = found, since
        return found, _CACHED - int(now - since)

    def _fill(self, reply: dns.message.Message, name: dns.name.Name, found: Answer, ttl: int) -> None:
        for section, records in ((reply.answer, found.answer), (reply.additional, found.additional)):
            for owner, kind, data in records:
                _add(section, name if not owner else dns.name.from_text(owner), kind, data, ttl)
        if found.soa:
            zone = found.soa
            text = f"ns.dns.{zone}. hostmaster.{zone}. {self._serial} 7200 1800 86400 {TTL}"
            _add(reply.authority, dns.name.from_text(zone), "SOA", text, min(ttl, TTL))

    def _to_wire(self, query: dns.message.Message, reply: dns.message.Message, limit: int | None) -> bytes:
        if limit is None:
            return reply.to_wire(max_size=65535)
        largest = max(512, query.payload) if query.edns >= 0 else limit
        try:
            return reply.to_wire(max_size=largest)
        except dns.exception.TooBig:
            return _truncated(reply, largest)

    def run(self, control: socket.socket) -> None:
        """Serve until the stream of records ends."""
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        if both:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        udp.bind(("", 53))
        for port, handler in ((53, self._serve_tcp), (8080, self._serve_health), (8181, self._serve_ready)):
            listener = socket.create_server(("", port), family=family, backlog=512, dualstack_ipv6=both)
            threading.Thread(target=_accept, args=(listener, handler), daemon=True).start()
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(udp, selectors.EVENT_READ)
            selector.register(control, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is udp:
                        data, client = udp.recvfrom(65535)
                        reply = self.reply(data, 512)
                        if reply is not None and self._slow:
                            threading.Timer(_SLOW, udp.sendto, (reply, client)).start()
                        elif reply is not None:
                            udp.sendto(reply, client)
                        continue
                    data = control.recv(1 << 16)
                    if not data:
                        return
                    *lines, pending = (pending + data).split(b"\n")
                    for line in lines:
                        self.apply(json.loads(line))

    def _serve_tcp(self, connection: socket.socket) -> None:
        if self._faults.dns.refuses_tcp:
            connection.close()
            return
        connection.settimeout(10)
        with connection, connection.makefile("rb") as stream:
            while len(header := stream.read(2)) == 2:
                reply = self.reply(stream.read(struct.unpack("!H", header)[0]), None)
                if reply is None:
                    return
                if self._slow:
                    time.sleep(_SLOW)
                connection.sendall(struct.pack("!H", len(reply)) + reply)

    def _serve_health(self, connection: socket.socket) -> None:
        _http(connection, True)

    def _serve_ready(self, connection: socket.socket) -> None:
        _http(connection, self._synced)


def _truncated(reply: dns.message.Message, largest: int) -> bytes:
    """As many records as fit, and the bit that asks for TCP (RFC 2181, section 9; CoreDNS sets it in any section)."""
    reply.flags |= dns.flags.TC
    answer, additional = reply.answer, reply.additional
    records = [(rrset, record) for section in (answer, additional) for rrset in section for record in rrset]
    answers = sum(len(rrset) for rrset in answer)
    fits, too_many = 0, len(records)
    wire = b""
    while not wire or too_many - fits > 1:
        count = (fits + too_many) // 2
        reply.answer, reply.additional = (
            _rrsets(records[: min(count, answers)]),
            _rrsets(records[answers:count]),
        )
        try:
            wire = reply.to_wire(max_size=largest)
        except dns.exception.TooBig:
            too_many = count
        else:
            fits = count
    return wire


def _rrsets(records: list[tuple[dns.rrset.RRset, Any]]) -> list[dns.rrset.RRset]:
    made: list[dns.rrset.RRset] = []
    for rrset, record in records:
        if not made or made[-1].name != rrset.name or made[-1].rdtype != rrset.rdtype:
            made.append(dns.rrset.RRset(rrset.name, rrset.rdclass, rrset.rdtype))
        made[-1].add(record, rrset.ttl)
    return made


def _add(section: list[dns.rrset.RRset], name: dns.name.Name, kind: str, data: str, ttl: int) -> None:
    if kind in ("CNAME", "PTR", "NS", "SRV"):
        data += "."
    rdtype = dns.rdatatype.from_text(kind)
    rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, data)
    for rrset in section:
        if rrset.name == name and rrset.rdtype == rdtype:
            rrset.add(rdata, ttl)
            return
    section.append(dns.rrset.from_rdata(name, ttl, rdata))


def _accept(listener: socket.socket, handler: Any) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_quietly, args=(handler, connection), daemon=True).start()


def _quietly(handler: Any, connection: socket.socket) -> None:
    try:
        handler(connection)
    except OSError:
        connection.close()  # the client went away: nothing to tell anybody


def _http(connection: socket.socket, ok: bool) -> None:
    with connection:
        connection.settimeout(5)
        connection.recv(4096)
        status, body = ("200 OK", b"OK") if ok else ("503 Service Unavailable", b"")
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def main(fd: int) -> None:
    """Entry point in the pod: `fd` is the stream of records."""
    DnsServer().run(socket.socket(fileno=os.dup(fd)))
