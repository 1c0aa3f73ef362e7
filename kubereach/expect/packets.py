"""Connections and datagrams that networks treat as others than the plain ones: with a mark, or half-closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kubereach.expect.load import reached
from kubereach.expect.reach import series_for
from kubereach.expect.settle import paths, settle, was_measured
from kubereach.expect.where import ByNode, Where
from kubereach.model.outcome import OK, in_words
from kubereach.model.plural import plural
from kubereach.probe import Vantage
from kubereach.probe.group import run_each
from kubereach.probe.path import Path

#: the byte of IPv4's type of service and IPv6's traffic class: its upper six bits are the DSCP (RFC 2474)
DSCP = {"DSCP EF": 46 << 2, "DSCP AF11": 10 << 2, "DSCP CS1": 8 << 2}
#: its lower two are ECN's (RFC 3168), which the kernel sets itself for TCP
ECN = {"ECT(0)": 2}
#: bytes of a question, and so of its answer: more than an acknowledgement, and less than any MTU
_ONE_PACKET = 1000
#: probes of a path: who treats such packets in another way does so with each of them
_PROBES = 3


def to_take_marks(vantages: Sequence[Vantage], where: Where | ByNode) -> None:
    """Packets with each of some DSCPs, and datagrams with ECN's ECT(0), are answered; none of them is lost.

    Whether a mark arrives as it was sent is the network's affair.
    """
    plain = paths(vantages, where)
    marked: list[tuple[Path, Mapping[str, object], str]] = []
    for path in reached(plain):
        marks = DSCP | ECN if path.address.kind == "udp" else DSCP
        for name, tos in marks.items():
            note = f"{path.address.note}, {name}".removeprefix(", ")
            one = Path(path.vantage, replace(path.address, note=note))
            marked.append((one, {"tos": tos}, f"answers to {_PROBES} probes with {name}"))
    _probe(marked)
    settle([*(path for path in plain if path.failures or path.unmeasured), *(path for path, *_ in marked)])


def to_answer_half_closed(vantages: Sequence[Vantage], where: Where | ByNode) -> None:
    """A client that has ended its side of a connection, with its question, still gets all of the answer.

    `where`: addresses whose backends echo lines.
    """
    plain = paths(vantages, where)
    more = {"half_close": True, "size": _ONE_PACKET}
    _probe([(path, more, "the whole answer on a half-closed connection") for path in reached(plain)])
    settle(plain)


def _probe(wanted: Sequence[tuple[Path, Mapping[str, object], str]]) -> None:
    """Send each path its probes, and say what it expected of those that are lost, or were sent again."""
    for path, more, _ in wanted:
        series = series_for(path, _PROBES)
        path.series, path.least = replace(series, more={**series.more, **more}), _PROBES
    results = run_each([(path.vantage, path.series) for path, *_ in wanted if path.series])
    for (path, _, expected), result in zip(wanted, results, strict=True):
        path.result = result
        again = sum(probe.retransmits for probe in result.probes)
        if was_measured(path) and (again or result.outcomes[OK] != len(result.probes)):
            resent = [plural(again, "retransmission")] if again else []
            path.fail(expected, ", ".join([in_words(result.outcomes), *resent]))
