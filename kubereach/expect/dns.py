"""Expectations about names: what the vantage's own resolver finds, and what a DNS server answers, as exact sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from kubereach.expect.caching import Question, forgetting
from kubereach.expect.converge import converge, latest, remaining
from kubereach.expect.hold import held, hold_length, longer, note_flaps
from kubereach.expect.notes import tell
from kubereach.expect.reach import CONVERGED, STOP_AFTER
from kubereach.expect.settle import control_after, measurable, names, paths, patience, settle, was_measured
from kubereach.model.address import Address
from kubereach.model.dns_names import rdtype as rdtype_of
from kubereach.model.errors import CannotMeasure
from kubereach.model.misses import LOST, RECORDS
from kubereach.model.outcome import (
    LOCAL,
    NODATA,
    NXDOMAIN,
    OK,
    SERVFAIL,
    TIMEOUT,
    Answer,
    SeriesResult,
    in_words,
)
from kubereach.model.settings import Settings
from kubereach.probe import Series, Vantage, dns_message
from kubereach.probe.group import run_each
from kubereach.probe.path import Path

#: a resolution by the vantage's own resolver may take so many times as long as one query, for it may ask several
_RESOLVER = 1.5
#: and this share of the time after which the resolver sends a query again (5 s with glibc, 2.5 s with musl, less where
#: resolv.conf says so): an answer to a second query would hide that the first, or its answer, was lost
_BEFORE_RESENDING = 0.8
#: outcomes that a server told, right or wrong: nothing was lost
TOLD = frozenset({OK, NODATA, NXDOMAIN})
#: as the IP version of a resolution: addresses of either
ANY = 0


def resolving(name: str, settled: float) -> Address:
    """A name as the resolver of the vantage sees it."""
    return Address("dns", "resolve", name, 0, settled)


def resolver_series(path: Path, family: int, count: int) -> Series:
    settings = path.vantage.context.settings
    path.vantage.open()  # its prober's greeting says what its resolver does
    return Series(
        "resolve",
        path.address.host,
        count=count,
        in_flight=settings.hold_in_flight,
        timeout=min(
            patience(path, _RESOLVER * settings.dns_timeout), _BEFORE_RESENDING * path.vantage.resends_after
        ),
        wanted=(OK, NXDOMAIN, NODATA),
        stop_after=STOP_AFTER,
        more={"family": family},
    )


def hold(
    seen: Sequence[Path],
    series: Callable[[Path, int], Series],
    right: Callable[[Path, Answer], bool],
    length: int,
    within: float | None,
    question: Question | None = None,
) -> None:
    """Converge and then hold, where `right` says whether an answer is as expected.

    With `question`, what a cache may still hold is waited for, see `kubereach.expect.caching`.

    Replicas of a server follow a change one after the other: one right answer says nothing of the next. A first attempt
    that was as long as the hold, and right, is the hold.
    """

    def all_right(path: Path, result: SeriesResult) -> bool:
        return all(right(path, probe.answer) for probe in result.probes)

    def is_wrong(path: Path) -> bool:
        answers = [probe.answer for probe in path.result.probes]
        return any(answer.outcome in TOLD and not right(path, answer) for answer in answers)

    begun = time.monotonic()

    def converged(some: Sequence[Path]) -> list[Path]:
        return converge(
            some, lambda path: series(path, min(length, CONVERGED)), all_right, remaining(begun, within)
        )

    late = converged([path for path in seen if within is not None or path.address.settled > begun])
    wrong = [path for path in late if is_wrong(path)]
    cached = forgetting(wrong, question) if wrong and question and within is None else []
    if cached:
        still = converged(cached)
        late = [path for path in late if path not in cached or path in still]
    open_paths = [
        path for path in seen if path not in late and not (path.attempts == 1 and length <= CONVERGED)
    ]

    def run(some: Sequence[Path], again: int) -> list[SeriesResult]:
        count = longer(seen[0].vantage.context.settings, length, again)
        return run_each([(path.vantage, replace(series(path, count), patient=True)) for path in some])

    late += held(
        open_paths,
        run,
        lambda path: "" if all_right(path, path.result) else in_words(path.result.outcomes),
        converged,
        lambda path: latest(path, begun, within),
        is_wrong,
    )
    for path in seen:
        if path not in late:
            path.converged, path.least = max(path.converged, 0.0), length
        was_measured(path)
    note_flaps([path for path in seen if all_right(path, path.result)])


def resolve(
    vantages: Sequence[Vantage], wanted: Sequence[str], addresses: Collection[str], family: int, settled: float,
    within: float | None,
) -> None:  # fmt: skip
    """See `Expectation.to_resolve`."""
    seen = paths(vantages, [resolving(name, settled) for name in wanted])
    exactly = frozenset(addresses)

    def right(_: Path, answer: Answer) -> bool:
        return answer.outcome == OK and frozenset(answer.detail.split()) == exactly

    count = vantages[0].context.settings.resolve_hold
    question = Question("AAAA" if family == 6 else "A", lambda found: found.records == exactly)
    hold(seen, lambda path, n: resolver_series(path, family, n), right, count, within, question)
    for path in seen:
        path.wanted = exactly
        wrong = _wrong_ones(path, right)
        if not wrong:
            continue
        miss = _miss(wrong[0])
        if wrong[0].outcome == OK:
            got = frozenset(wrong[0].detail.split())
            path.fail(f"exactly {names(exactly)}", names(got), *_difference(exactly, got), miss=miss)
        else:
            path.fail(names(exactly), in_words(path.result.outcomes), miss=miss)
    settle(seen)


def not_resolve(
    vantages: Sequence[Vantage], wanted: Sequence[str], control: str, accepted: frozenset[str], settled: float
) -> None:
    """See `Expectation.not_to_resolve`. `accepted` are the outcomes that conform."""
    seen = paths(vantages, [resolving(name, settled) for name in wanted])
    for path in seen:
        path.judged = lambda answer: answer.outcome in accepted
    version = vantages[0].context.ip_version
    _control(vantages, control, "before")
    count = min(3, vantages[0].context.settings.resolve_hold)
    hold(
        seen,
        lambda path, n: resolver_series(path, version, n),
        lambda _, answer: answer.outcome in accepted,
        count,
        None,
        Question("AAAA" if version == 6 else "A", lambda found: found.rcode == "NXDOMAIN"),
    )
    for path in seen:
        for answer in _wrong_ones(path, lambda _, answer: answer.outcome in accepted)[:1]:
            found = f"it is {answer.detail} here" if answer.outcome == OK else answer.detail
            evidence = [found] if found else []
            path.fail("no such name", in_words(path.result.outcomes), *evidence, miss=_miss(answer))
    control_after(seen, lambda: _control(vantages, control, "after"))
    settle(seen)


def _wrong_ones(path: Path, right: Callable[[Path, Answer], bool]) -> list[Answer]:
    """The answers that are not `right`, those that a server gave first.

    A wrong answer is wrong whatever else was lost. Where not every probe could be made there are only such ones: one
    that could not is no lost one.
    """
    wrong = [probe.answer for probe in path.result.probes if not right(path, probe.answer)]
    given = [answer for answer in wrong if answer.outcome in TOLD]
    return given if path.unmeasured else [*given, *(answer for answer in wrong if answer not in given)]


def _miss(answer: Answer) -> str:
    """What was missed by an answer that is not right."""
    return RECORDS if answer.outcome in TOLD else LOST


def _control(vantages: Sequence[Vantage], name: str, when: str) -> None:
    """A name that must resolve, if there is one: from outside, no name of the cluster must."""
    if not name:
        return
    seen = paths(vantages, [resolving(name, 0.0)])
    version = vantages[0].context.ip_version
    results = run_each([(path.vantage, resolver_series(path, version, 1)) for path in seen])
    for path, result in zip(seen, results, strict=True):
        path.result = result
        measurable(path)
        if result.outcomes[OK] != len(result.probes):
            raise CannotMeasure(
                f"the control just {when} failed: {path.vantage.name} resolves {name}: {in_words(result.outcomes)}",
                "Its resolver does not work at all, so that a name it does not find proves nothing.",
            )


def told(
    vantages: Sequence[Vantage], servers: Sequence[Address], rdtype: str, name: str, records: Collection[str],
    rcode: str, transport: str, truncated: bool, thorough: bool, within: float | None,
) -> None:  # fmt: skip
    """See `Expectation.to_be_told`."""
    seen = paths(vantages, servers)
    settings = vantages[0].context.settings
    wanted = frozenset(record.lower() for record in records)
    message = dns_message.query(name, rdtype)

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
            more={"message": message, "transport": transport},
        )

    read: dict[str, dns_message.Reply | None] = {}

    def reply(answer: Answer) -> dns_message.Reply | None:
        if answer.detail not in read:
            read[answer.detail] = dns_message.read(answer.detail, rdtype)
        return read[answer.detail]

    def right(_: Path, answer: Answer) -> bool:
        found = reply(answer) if answer.outcome in (OK, NODATA, NXDOMAIN) else None
        if found is None or found.rcode != rcode or found.truncated != truncated or found.repeated:
            return False
        # a truncated answer holds what fits: it must not hold anything else
        return found.records <= wanted if truncated else found.records == wanted

    asked = Question(rdtype, lambda found: found.rcode == rcode and found.records == wanted, name)
    hold(seen, series, right, hold_length(settings) if thorough else settings.resolve_hold, within, asked)
    question = f"{rdtype} {name}"
    for path in seen:
        wrong = _wrong_ones(path, right)
        path.series, path.judged = series(path, 1), partial(right, path)
        if wrong:
            _wrong(path, wrong[0], reply(wrong[0]), question, wanted, rcode, truncated)
    settle(seen)


def _wrong(
    path: Path, answer: Answer, found: dns_message.Reply | None, question: str, wanted: frozenset[str], rcode: str,
    truncated: bool,
) -> None:  # fmt: skip
    expected = f"{question}: {rcode}, " + ("no records" if not wanted else f"exactly {names(wanted)}")
    if truncated:
        expected = f"{question}: an answer that is marked as truncated"
    if found is None:
        why = f"{answer.detail}" if answer.outcome not in (OK, TIMEOUT, LOCAL) else ""
        path.fail(expected, in_words(path.result.outcomes), *([why] if why else []), miss=_miss(answer))
        return
    got = found.rcode + (", truncated" if found.truncated else "") + f", {names(found.records)}"
    if found.repeated:
        got += ", some of them twice"
    path.fail(expected, got, *_difference(wanted, found.records), miss=RECORDS)


def _difference(wanted: frozenset[str], got: frozenset[str]) -> list[str]:
    lines = []
    if wanted - got:
        lines.append(f"missing: {names(wanted - got)}")
    if got - wanted:
        lines.append(f"too many: {names(got - wanted)}")
    return lines


def srv_targets(
    vantages: Sequence[Vantage],
    server: Address,
    name: str,
    port: int,
    count: int,
    wanted: frozenset[str] | None,
) -> dict[str, frozenset[str]]:
    """The `count` targets of the SRV records of `name`, which are `wanted` if that is known, for each vantage.

    All records must give `port`. Raises `NotConforming`.
    """
    seen = paths(vantages, [server])
    message = dns_message.query(name, "SRV")
    settings = vantages[0].context.settings
    targets: dict[str, frozenset[str]] = {}

    def series(path: Path, count: int) -> Series:
        return _asking(path, count, settings, message=message, transport="tcp")

    def right(path: Path, answer: Answer) -> bool:
        found = dns_message.read(answer.detail, "SRV") if answer.outcome == OK else None
        if found is None or found.rcode != "NOERROR" or found.repeated:
            return False
        pairs = [record.split() for record in found.records]
        these = targets[path.vantage.name] = frozenset(target for _, target in pairs)
        listed = len(these) == count and wanted in (None, these)
        return listed and all(number == str(port) for number, _ in pairs)

    members = f"{count} targets" if wanted is None else f"the targets {names(wanted)}"
    hold(seen, series, right, 1, None, Question("SRV", lambda found: len(found.records) == count, name))
    for path in seen:
        path.series, path.judged = series(path, 1), partial(right, path)
        for answer in _wrong_ones(path, right)[:1]:
            found = dns_message.read(answer.detail, "SRV") if answer.outcome == OK else None
            got = f"{found.rcode}, {names(found.records)}" if found else in_words(path.result.outcomes)
            path.fail(f"SRV {name}: records with port {port} and {members}", got, miss=_miss(answer))
    settle(seen)
    return targets


def find(vantages: Sequence[Vantage], name: str) -> None:
    """See `Expectation.to_find`."""
    seen = paths(vantages, [resolving(name, 0.0)])
    count = vantages[0].context.settings.resolve_hold
    hold(seen, lambda p, n: resolver_series(p, ANY, n), lambda _, answer: answer.outcome == OK, count, None)
    for path in seen:
        for answer in _wrong_ones(path, lambda _, answer: answer.outcome == OK)[:1]:
            path.fail("an address", in_words(path.result.outcomes), miss=_miss(answer))
        if path.failures or path.unmeasured:
            continue
        addresses = frozenset(a for probe in path.result.probes for a in probe.answer.detail.split())
        tell(path.vantage, f"{path.vantage.name}: {name} is {names(addresses)}")
    settle(seen)


def report(
    vantages: Sequence[Vantage], servers: Sequence[Address], rdtype: str, name: str, longest: int
) -> None:
    """See `Expectation.to_report_records`."""
    seen = paths(vantages, servers)
    message, settings = dns_message.query(name, rdtype), vantages[0].context.settings

    def reply(answer: Answer) -> dns_message.Reply | None:
        found = dns_message.read(answer.detail, rdtype) if answer.outcome == OK else None
        return found if found and found.records else None

    hold(
        seen,
        lambda path, count: _asking(path, count, settings, message=message),
        lambda _, answer: reply(answer) is not None,
        settings.resolve_hold,
        None,
    )

    def fresh(answer: Answer) -> bool:
        found = reply(answer)
        return found is not None and not (longest and found.ttl > longest)

    said = set()
    for path in seen:
        path.series = _asking(path, 1, settings, message=message)
        path.judged = fresh
        if path.unmeasured:
            continue
        replies = [reply(probe.answer) for probe in path.result.probes]
        right = [found for found in replies if found is not None]
        if len(right) < len(replies):
            path.fail(f"{rdtype} {name}: records", in_words(path.result.outcomes))
            continue
        ttl = max(found.ttl for found in right)
        said.add(f"{rdtype} {name}: {names(right[0].records)}, to be kept for {ttl} s")
        if longest and ttl > longest:
            path.fail(f"{rdtype} {name}: to be kept for at most {longest} s", f"for {ttl} s")
    for line in sorted(said):
        tell(vantages[0], line)
    settle(seen)


#: outcomes of a name that is nowhere to be found, whatever resolver was asked
UNKNOWN_NAME = frozenset({NXDOMAIN, NODATA, SERVFAIL, TIMEOUT})


def one_address(vantages: Sequence[Vantage], server: Address, name: str, allowed: frozenset[str]) -> str:
    """The single address of `name`, which must be among `allowed`, as told to each vantage. Raises `NotConforming`."""
    seen = paths(vantages, [server])
    rdtype = rdtype_of(min(allowed))
    message = dns_message.query(name, rdtype)
    settings = vantages[0].context.settings
    found: list[str] = []

    def series(path: Path, count: int) -> Series:
        return _asking(path, count, settings, message=message)

    def right(_: Path, answer: Answer) -> bool:
        reply = dns_message.read(answer.detail, rdtype) if answer.outcome == OK else None
        if reply is None or len(reply.records) != 1 or not reply.records <= allowed:
            return False
        found.extend(reply.records)
        return True

    hold(seen, series, right, 1, None)
    for path in seen:
        path.series, path.judged = series(path, 1), partial(right, path)
        for answer in _wrong_ones(path, right)[:1]:
            reply = dns_message.read(answer.detail, rdtype) if answer.outcome == OK else None
            path.fail(
                f"{rdtype} {name}: one of {names(allowed)}",
                names(reply.records) if reply else in_words(path.result.outcomes),
                miss=_miss(answer),
            )
    settle(seen)
    return found[0]


def _asking(path: Path, count: int, settings: Settings, **more: object) -> Series:
    """The same DNS question `count` times; `more` are the prober's fields of it."""
    timeout = patience(path, settings.dns_timeout)
    return Series("dns", path.address.host, path.address.port, count, timeout=timeout, more=more)
