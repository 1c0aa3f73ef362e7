"""Middleboxes: who answers for addresses that nobody has, and what a negative is worth where somebody does.

Packets to an address that no rule of a node takes may leave the node (to a cluster IP in kube-proxy's iptables mode; to
node ports, load-balancer addresses and external IPs in every mode), and on some networks a transparent proxy or a
captive portal then answers in place of whoever it was for. Such an answer is nobody's of the cluster, and yet it is
neither silence nor a refusal.

Why a pass is one, all the same, where nobody may answer. The requirement is that an address does *not* lead to
endpoints. Each probe carries a question that every backend of the run answers with the run's nonce, within the time
that the control has just shown to be enough, and no answer did. What did answer is held against what the same vantage
is told, at the same port and by the same protocol, by addresses that nobody can have: one of TEST-NET-1 (RFC 5737) or
2001:db8::/32 (RFC 3849), and one of the Service range that no Service has. Only if every answer is like one of theirs
(the same outcome, the same status line and server, or the same first bytes, numbers apart) is it the middlebox's. An
answer of a peer, of this run or another, and any answer that those addresses do not give, is somebody's of the cluster:
the check fails, as it does where there is no middlebox. A Service that leads to a foreign pod is missed only if that
pod answers word for word as the middlebox does.

Why no verdict is given where a refusal or silence is wanted. Whoever takes the connection on the way keeps both from
being seen: the node may have been about to refuse it, had it arrived there. Neither a pass nor a failure is proved, so
that such a path could not be measured.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from kubereach.expect.notes import add_note
from kubereach.model.outcome import ANSWERED, OK, Answer, SeriesResult
from kubereach.probe import Series
from kubereach.probe.group import run_each
from kubereach.probe.path import Path

#: by IP version, an address that is nobody's on any network: of the ranges for documentation
NOBODY = {4: "192.0.2.213", 6: "2001:db8:ffff::213"}
#: probes of each such address
_PROBES = 4
#: what differs from one answer of a middlebox to the next: numbers, dates and identifiers
_VARIES = re.compile(r"[0-9a-f]{8,}|\d+")

#: the name of a vantage, a protocol, a port and an IP version
_Key = tuple[str, str, int, int]


class Middleboxes:
    """What addresses that nobody has answer to the vantages of one negative; they are probed when it matters."""

    def __init__(self, all_paths: Sequence[Path], series: Callable[[Path], Series]) -> None:
        self._paths = {key: path for path in all_paths if (key := _key(path)) is not None}
        self._series = series
        self._answers: dict[_Key, dict[tuple[str, str], Answer]] | None = None

    def answer(self, path: Path, result: SeriesResult) -> Answer | None:
        """A middlebox's answer, if every answer of `result` is one of a middlebox; raises `CannotMeasure`."""
        answers = [probe.answer for probe in result.probes if probe.answer.outcome in ANSWERED]
        key = _key(path)
        # a peer says which pod it is
        if key is None or not answers or any(one.outcome == OK or one.pod for one in answers):
            return None
        if self._answers is None:
            self._answers = self._probe()
        known = self._answers[key]
        found = [known.get(_signature(one)) for one in answers]
        return found[0] if all(found) else None

    def _probe(self) -> dict[_Key, dict[tuple[str, str], Answer]]:
        """From every vantage, what comes of the addresses that nobody has."""
        wanted = [
            (
                key,
                (path.vantage, replace(self._series(path), host=host, count=_PROBES, delay=0.0, paced=False)),
            )
            for key, path in self._paths.items()
            for host in (NOBODY[key[3]], *path.vantage.context.unallocated(key[3]))
        ]
        found: dict[_Key, dict[tuple[str, str], Answer]] = {key: {} for key in self._paths}
        for (key, _), result in zip(wanted, run_each([series for _, series in wanted]), strict=True):
            for probe in result.probes:
                if probe.answer.outcome in ANSWERED:
                    found[key].setdefault(_signature(probe.answer), probe.answer)
        return found


def note(path: Path, answer: Answer) -> None:
    """Tell of the middlebox, once for each vantage of the run."""
    vantage = path.vantage
    text = f"a middlebox answers for unassigned addresses, probed from {vantage.name}: {words(answer)}"
    if vantage.context.middleboxes.setdefault(vantage.name, text) is text:
        add_note(vantage, text)


def words(answer: Answer) -> str:
    """``HTTP/1.1 404 Not Found``; where there was nothing to read, what became of the connection."""
    return answer.detail or answer.outcome


def _key(path: Path) -> _Key | None:
    """None for a path by name, which says nothing of addresses."""
    address = path.address
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        return None
    return path.vantage.name, address.kind, address.port, version


def _signature(answer: Answer) -> tuple[str, str]:
    return answer.outcome, _VARIES.sub("0", answer.detail.lower())
