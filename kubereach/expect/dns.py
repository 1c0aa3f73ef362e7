"""Expectations of DNS servers: the records that they answer with, as exact sets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
from kubereach.model.outcome import LOCAL, NODATA, NXDOMAIN, OK, TIMEOUT, Answer, in_words
from kubereach.model.settings import Settings
from kubereach.probe import Series, Vantage, dns_message
from kubereach.probe.path import Path


@dataclass(frozen=True)
class Query:
    """A DNS query, and what the reply must be besides its records.

    `transport` is udp or tcp. `truncated`: the answer must say that it is incomplete, as one over UDP may be.
    """

    rdtype: str
    name: str
    rcode: str = "NOERROR"
    transport: str = "udp"
    truncated: bool = False

    def __str__(self) -> str:
        return f"{self.rdtype} {self.name}"


def to_get_records(
    vantages: Sequence[Vantage],
    query: Query,
    records: Collection[str],
    *,
    by: Server,
    settled: float = 0.0,
    thorough: bool = False,
) -> None:
    """A DNS server answers a query with exactly these records of the type asked for.

    `by` is the cluster (its DNS Service), a replica, or several. Records are texts as in
    `kubereach.probe.dns_message`: addresses, names with their final dot, ``port target`` for SRV. No records mean
    that there are none (NODATA). `settled`: ``service.settled``. `thorough`: as many queries in a row as probes of a
    path, so that loss is noticed.
    """
    all_paths = paths(vantages, _servers(vantages, by, settled))
    settings = vantages[0].context.settings
    wanted = frozenset(record.lower() for record in records)
    message = dns_message.query(query.name, query.rdtype)

    def series(path: Path, count: int) -> Series:
        return Series(
            "dns",
            path.address.host,
            path.address.port,
            count=count,
            in_flight=settings.hold_in_flight,
            timeout=patience(path, settings.dns_timeout),
            wanted=(OK, NODATA, NXDOMAIN),
            stop_after=STOP_AFTER,
            more={"message": message, "transport": query.transport},
        )

    read: dict[str, dns_message.Reply | None] = {}

    def reply(answer: Answer) -> dns_message.Reply | None:
        if answer.detail not in read:
            read[answer.detail] = dns_message.read(answer.detail, query.rdtype)
        return read[answer.detail]

    def right(_: Path, answer: Answer) -> bool:
        found = reply(answer) if answer.outcome in (OK, NODATA, NXDOMAIN) else None
        if (
            found is None
            or found.rcode != query.rcode
            or found.truncated != query.truncated
            or found.repeated
        ):
            return False
        # a truncated answer holds what fits: it must not hold anything else
        return found.records <= wanted if query.truncated else found.records == wanted

    def is_final(found: dns_message.Reply) -> bool:
        return found.rcode == query.rcode and found.records == wanted

    length = hold_length(settings) if thorough else settings.resolve_hold
    hold(all_paths, series, right, length, None, Question(query.rdtype, is_final, query.name))
    for path in all_paths:
        wrong = wrong_ones(path, right)
        path.series, path.judged = series(path, 1), partial(right, path)
        if wrong:
            _wrong(path, wrong[0], reply(wrong[0]), query, wanted)
    settle(all_paths)


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
