"""Two questions at once from one socket: A and AAAA, as resolvers ask them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from kubereach.expect.dns_hold import hold
from kubereach.expect.hold import hold_length
from kubereach.expect.reach import STOP_AFTER
from kubereach.expect.settle import names, paths, patience, settle
from kubereach.expect.where import Server, servers_of
from kubereach.model.misses import LOST, RECORDS
from kubereach.model.outcome import OK, Answer, in_words
from kubereach.probe import Series, Vantage, dns_message
from kubereach.probe.path import Path
from kubereach.probe.peer.protocol import FIRST_LOST, SECOND_LOST


def to_get_both(
    vantages: Sequence[Vantage], name: str, records: Mapping[str, Collection[str]], *, by: Server
) -> None:
    """The A and AAAA queries of a name that leave one UDP port at once are both answered, with exactly these records.

    `records` has both types, in the order in which they are asked for: as many pairs in a row as probes of a path, each
    from a port of its own.
    """
    all_paths = paths(vantages, servers_of(by, 0.0, vantages[0].context.settled))
    settings = vantages[0].context.settings
    messages = dns_message.pair(name, *records)

    def series(path: Path, count: int) -> Series:
        return Series(
            "dns",
            path.address.host,
            path.address.port,
            count=count,
            in_flight=settings.hold_in_flight,
            timeout=patience(path, settings.dns_timeout),
            stop_after=STOP_AFTER,
            more={"message": messages[0], "beside": messages[1]},
        )

    def right(_: Path, answer: Answer) -> bool:
        return answer.outcome == OK and not _difference(answer, records)

    hold(all_paths, series, right, hold_length(settings), None)
    for path in all_paths:
        path.series, path.judged = series(path, 1), partial(right, path)
        path.wanted = frozenset(record for wanted in records.values() for record in wanted)
        wrong = [probe.answer for probe in path.result.probes if not right(path, probe.answer)]
        expected = f"{' and '.join(records)} {name}, asked for at once from one port: both answered"
        if found := next((answer for answer in wrong if answer.outcome == OK), None):
            path.fail(f"{expected}, exactly", _difference(found, records), miss=RECORDS)
        elif wrong and not path.unmeasured:
            path.fail(expected, in_words(path.result.outcomes), *_which(wrong, tuple(records)), miss=LOST)
    settle(all_paths)


def _difference(answer: Answer, records: Mapping[str, Collection[str]]) -> str:
    """What of the two answers is wrong; empty if nothing is."""
    for detail, (rdtype, wanted) in zip(answer.detail.split(), records.items(), strict=True):
        found = dns_message.read(detail, rdtype)
        if found is None:
            return f"{rdtype}: no DNS message"
        if found.rcode != "NOERROR":
            return f"{rdtype}: {found.rcode}"
        if found.records != frozenset(wanted):
            return f"{rdtype}: {found.rcode}, {names(found.records)} (not {names(frozenset(wanted))})"
    return ""


def _which(wrong: Sequence[Answer], rdtypes: Sequence[str]) -> list[str]:
    counts = Counter(answer.detail for answer in wrong)
    lost = {rdtypes[0]: counts[FIRST_LOST], rdtypes[1]: counts[SECOND_LOST]}
    return [
        f"{rdtype} alone was not answered: {'once' if count == 1 else f'{count} times'}"
        for rdtype, count in lost.items()
        if count
    ]
