"""Expectations of DNS servers: the records that they answer with, as exact sets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from kubereach.expect.caching import Question
from kubereach.expect.dns_hold import difference, hold, miss_of, wrong_ones
from kubereach.expect.hold import hold_length
from kubereach.expect.notes import add_note
from kubereach.expect.reach import STOP_AFTER
from kubereach.expect.settle import names, paths, patience, settle
from kubereach.expect.where import Server, servers_of
from kubereach.model.address import Address
from kubereach.model.misses import RECORDS
from kubereach.model.outcome import LOCAL, NODATA, NXDOMAIN, OK, PROTOCOL, TIMEOUT, Answer, in_words
from kubereach.model.settings import Settings
from kubereach.probe import Series, Vantage, dns_message
from kubereach.probe.path import Path

#: outcomes that a server told: `TOLD`, in order
_TOLD = (OK, NODATA, NXDOMAIN)
#: bytes of an answer that every client takes over UDP (RFC 1035, section 4.2.1)
_LEAST = 512


@dataclass(frozen=True)
class Query:
    """A DNS query, and what the reply must be besides its records.

    `transport` is udp or tcp. `truncated`: the answer must say that it is incomplete, as one over UDP may be. `payload`
    is how many bytes of UDP the client takes, which it tells by EDNS(0); 0: no EDNS, which means 512. What a server
    that knows no EDNS says (FORMERR, RFC 6891) conforms then, and so does an answer that is truncated though it would
    fit; both are noted.
    """

    rdtype: str
    name: str
    rcode: str = "NOERROR"
    transport: str = "udp"
    truncated: bool = False
    payload: int = 0

    def __str__(self) -> str:
        takes = f" (EDNS, {self.payload} bytes)" if self.payload else ""
        return f"{self.rdtype} {self.name}{takes}" + (" over TCP" if self.transport == "tcp" else "")

    def is_answered(self, found: dns_message.Reply, wanted: frozenset[str]) -> bool:
        """Whether a reply is one that this query may get, where there are just the records `wanted`."""
        if self.is_unknown(found):
            return True
        too_large = self.transport == "udp" and found.size > max(_LEAST, self.payload)
        if found.rcode != self.rcode or found.repeated or too_large or not self.is_asked(found):
            return False
        # a truncated answer holds what fits: it must not hold anything else
        if found.truncated and (self.truncated or self.payload):
            return found.records <= wanted
        return found.truncated == self.truncated and found.records == wanted

    def is_asked(self, found: dns_message.Reply) -> bool:
        """Whether a reply repeats this question, in the same case: resolvers that mix it drop one that does not."""
        return found.asked.rstrip(".") in ("", self.name.rstrip("."))

    def is_unknown(self, found: dns_message.Reply) -> bool:
        """Whether a server says that it does not know EDNS, which this query has (RFC 6891, section 7)."""
        return bool(self.payload) and found.rcode in ("FORMERR", "NOTIMP") and not found.edns


def to_get_records(
    vantages: Sequence[Vantage],
    query: Query,
    records: Collection[str],
    *,
    by: Server,
    settled: float = 0.0,
    thorough: bool = False,
    repeat: int = 0,
) -> None:
    """A DNS server answers a query with exactly these records of the type asked for.

    `by` is the cluster (its DNS Service), a replica, or several. Records are texts as in
    `kubereach.probe.dns_message`: addresses, names with their final dot, ``port target`` for SRV. No records mean
    that there are none (NODATA). `settled`: ``service.settled``. `thorough`: as many queries in a row as probes of a
    path, so that loss is noticed. `repeat`: so many, where the question is whether such packets pass at all.
    """
    all_paths = paths(vantages, _servers(vantages, by, settled))
    settings = vantages[0].context.settings
    wanted = frozenset(record.lower() for record in records)
    message = dns_message.query(query.name, query.rdtype, query.payload)
    # that it knows no EDNS is an answer, too
    told = (*_TOLD, PROTOCOL) if query.payload else _TOLD

    def series(path: Path, count: int) -> Series:
        return Series(
            "dns",
            path.address.host,
            path.address.port,
            count=count,
            in_flight=settings.hold_in_flight,
            timeout=patience(path, settings.dns_timeout),
            wanted=told,
            stop_after=STOP_AFTER,
            more={"message": message, "transport": query.transport},
        )

    read: dict[str, dns_message.Reply | None] = {}

    def reply(answer: Answer) -> dns_message.Reply | None:
        if answer.detail not in read:
            read[answer.detail] = dns_message.read(answer.detail, query.rdtype)
        return read[answer.detail]

    def right(_: Path, answer: Answer) -> bool:
        found = reply(answer) if answer.outcome in told else None
        return found is not None and query.is_answered(found, wanted)

    def is_final(found: dns_message.Reply) -> bool:
        return found.rcode == query.rcode and found.records == wanted

    length = hold_length(settings) if thorough else repeat or settings.resolve_hold
    hold(all_paths, series, right, length, None, Question(query.rdtype, is_final, query.name))
    for path in all_paths:
        wrong = wrong_ones(path, right)
        path.series, path.judged = series(path, 1), partial(right, path)
        if wrong:
            _wrong(path, wrong[0], reply(wrong[0]), query, wanted)
    _note_less([path for path in all_paths if not path.failures], reply, query)
    settle(all_paths)


def _note_less(
    all_paths: Sequence[Path], reply: Callable[[Answer], dns_message.Reply | None], query: Query
) -> None:
    """Note which servers give less than what fits, though they may."""
    lines = set()
    for path in all_paths if query.payload else ():
        for answer in {probe.answer.detail: probe.answer for probe in path.result.probes}.values():
            found = reply(answer)
            if found is not None and query.is_unknown(found):
                lines.add(f"{path.address} knows no EDNS: it answers {query} with {found.rcode}")
            elif found is not None and found.truncated:
                lines.add(f"{path.address} truncates its answer to {query}, at {found.size} bytes")
    for line in sorted(lines):
        add_note(all_paths[0].vantage, line)


def _wrong(
    path: Path, answer: Answer, found: dns_message.Reply | None, query: Query, wanted: frozenset[str]
) -> None:
    expected = f"{query}: {query.rcode}, " + ("no records" if not wanted else f"exactly {names(wanted)}")
    if query.truncated:
        expected = f"{query}: an answer with the TC bit (truncated)"
    if found is None:
        why = f"{answer.detail}" if answer.outcome not in (OK, TIMEOUT, LOCAL) else ""
        path.fail(expected, in_words(path.result.outcomes), *([why] if why else []), miss=miss_of(answer))
        return
    got = found.rcode + (", truncated" if found.truncated else "") + f", {names(found.records)}"
    if query.transport == "udp" and found.size > max(_LEAST, query.payload):
        got += f", in {found.size} bytes, of which the client takes {max(_LEAST, query.payload)}"
    if not query.is_asked(found):
        got += f", for the name {found.asked}"
    if found.repeated:
        got += ", some of them duplicated"
    path.fail(expected, got, *difference(wanted, found.records), miss=RECORDS)


def to_report_records(vantages: Sequence[Vantage], query: Query, *, by: Server, longest: int = 0) -> None:
    """There are such records, which the report has with the seconds that they may be kept: `longest` at most."""
    all_paths = paths(vantages, _servers(vantages, by, 0.0))
    message, settings = dns_message.query(query.name, query.rdtype), vantages[0].context.settings

    def reply(answer: Answer) -> dns_message.Reply | None:
        found = dns_message.read(answer.detail, query.rdtype) if answer.outcome == OK else None
        return found if found and found.records else None

    hold(
        all_paths,
        lambda path, count: query_series(path, count, settings, message=message),
        lambda _, answer: reply(answer) is not None,
        settings.resolve_hold,
        None,
    )

    def fresh(answer: Answer) -> bool:
        found = reply(answer)
        return found is not None and not (longest and found.ttl > longest)

    lines = set()
    for path in all_paths:
        path.series = query_series(path, 1, settings, message=message)
        path.judged = fresh
        if path.unmeasured:
            continue
        replies = [reply(probe.answer) for probe in path.result.probes]
        right = [found for found in replies if found is not None]
        if len(right) < len(replies):
            path.fail(f"{query}: records", in_words(path.result.outcomes))
            continue
        ttl = max(found.ttl for found in right)
        lines.add(f"{query}: {names(right[0].records)}, TTL {ttl} s")
        if longest and ttl > longest:
            path.fail(f"{query}: a TTL of at most {longest} s", f"TTL {ttl} s")
    for line in sorted(lines):
        add_note(vantages[0], line)
    settle(all_paths)


def _servers(vantages: Sequence[Vantage], by: Server, settled: float) -> list[Address]:
    return servers_of(by, settled, vantages[0].context.settled)


def query_series(path: Path, count: int, settings: Settings, **more: object) -> Series:
    """The same DNS question `count` times; `more` are the prober's fields of it."""
    timeout = patience(path, settings.dns_timeout)
    return Series("dns", path.address.host, path.address.port, count, timeout=timeout, more=more)
