"""The score of hypotheses: how likely the counts of the whole table are if a component is broken.

A probe is lost if any broken component on its route loses it. A component loses a share of the packets that pass it,
one share for each kind of packets (`Row.packets`): so "TCP alone" or "above 1400 bytes" are found and not supposed. The
likelihood of all counts, lost and answered, decides, less a price for each component and share: what explains all that
failed and all that passed, with the least. Several components are a cover: the best one, then the best for what is
left.

The method is that of network tomography: NetBouncer (NSDI 2019), 007 (NSDI 2018), deTector (ATC 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kubereach.diagnosis.evidence import Row
from kubereach.diagnosis.hypotheses import Candidate, candidates

#: share of probes that get lost where nothing is broken: a machine that was late, a packet that was dropped for once
STRAY = 1e-3
#: what a component must explain better than chance, in nats, beyond its price: exp(-4) is 2 %
EVIDENCE = 4.0
#: price of each share that is fitted
_SHARE = 1.5
#: steps in which shares are fitted where a loss may have been on one of several routes
_STEPS = 8
#: shares that differ by less are the same; more than this is not said to be lost, since certainty cannot be mended
_CLOSE, _ALL = 1e-3, 0.9999
#: components at the same time, and times that each is chosen anew beside the others
_MOST, _SWEEPS = 4, 3
#: two explanations are told apart if one is exp(6), some 400 times, as likely as the other
TOLD_APART = 6.0


@dataclass(frozen=True)
class Explanation:
    """A component that is believed to be broken, with the share of packets that it loses, by kind of packets."""

    candidate: Candidate
    #: by `Row.packets`
    shares: dict[str, float]
    #: nats by which it explains the table better than without it, its price taken off
    gain: float
    #: other explanations of the same losses that the table does not rule out, with what they lack in nats
    rivals: tuple[tuple[Candidate, float], ...] = field(default=())

    def losses(self, rows: Sequence[Row], numbers: Iterable[int]) -> float:
        """How many losses of these rows it accounts for, if it alone is broken."""
        found = 0.0
        for number in numbers:
            row, passed = rows[number], self.candidate.lossy.get(number)
            if passed:
                found += row.lost * self.shares[row.packets] * len(passed) / len(row.routes)
        return found


def explain(rows: Sequence[Row]) -> list[Explanation]:
    """The components that are broken, the one that explains most first; none where chance explains the losses."""
    every = candidates(rows)
    cover: list[Explanation] = []
    while len(cover) < _MOST:
        found = _best(rows, every, cover)
        if found is None:
            break
        cover = _settled(rows, every, [*cover, found])
    return sorted(cover, key=lambda one: -one.gain)


def _settled(rows: Sequence[Row], every: Sequence[Candidate], cover: list[Explanation]) -> list[Explanation]:
    """The same cover with each of its components the best one beside the others, as long as any gets better.

    The first was chosen to explain everything; beside a second one, which explains a part, another may do better.
    """
    for _ in range(_SWEEPS if len(cover) > 1 else 0):
        before = [one.candidate.component for one in cover]
        for one in list(cover):
            others = [other for other in cover if other is not one]
            found = _best(rows, every, others)
            cover = [*others, found] if found else others
        if {one.candidate.component for one in cover} == set(before):
            break
    return cover


def _best(
    rows: Sequence[Row], every: Sequence[Candidate], beside: Sequence[Explanation]
) -> Explanation | None:
    """The best explanation of what those `beside` it leave unexplained; None where that is no more than chance."""
    #: chance of a loss by what is broken beside, by row and route
    base = {number: [STRAY] * len(row.routes) for number, row in enumerate(rows) if row.lost}
    for other in beside:
        for number, routes in other.candidate.lossy.items():
            share = other.shares[rows[number].packets]
            for at in routes:
                base[number][at] = 1.0 - (1.0 - base[number][at]) * (1.0 - share)
    tried = [_fit(rows, base, one) for one in every]
    best = max(tried, key=lambda one: one.gain, default=None)
    if best is None or best.gain < EVIDENCE:
        return None
    near = [(one.candidate, best.gain - one.gain) for one in tried if one is not best]
    rivals = sorted(((one, lack) for one, lack in near if lack < TOLD_APART), key=lambda one: one[1])
    return replace(best, rivals=tuple(rivals))


def _fit(rows: Sequence[Row], base: Mapping[int, Sequence[float]], one: Candidate) -> Explanation:
    """A candidate with the shares that explain the table best: one share for all kinds of packets, or one for each.

    Whichever is worth what it costs.
    """
    by_packets: dict[str, list[_Loss]] = {packets: [] for packets in one.answered}
    for number, routes in one.lossy.items():
        row = rows[number]
        before = base[number]
        by_packets[row.packets].append((row.lost, sum(before), sum(1.0 - before[at] for at in routes)))
    everything = [loss for losses in by_packets.values() for loss in losses]
    whole, common = _likeliest(sum(one.answered.values()), everything)
    fitted = {packets: _likeliest(one.answered[packets], losses) for packets, losses in by_packets.items()}
    apart = sum(gain - _SHARE for _, gain in fitted.values())
    if apart > common - _SHARE:
        return Explanation(one, {packets: share for packets, (share, _) in fitted.items()}, apart - one.price)
    return Explanation(one, dict.fromkeys(by_packets, whole), common - _SHARE - one.price)


#: of a row: how many were lost, the sum of chances of a loss over all its routes so far, and the sum of what is left
#: to lose on those of its routes that pass
_Loss = tuple[int, float, float]


def _likeliest(answered: int, losses: Sequence[_Loss]) -> tuple[float, float]:
    """The share that a candidate most probably loses, and the nats by which the counts are likelier with it.

    By expectation maximisation: a loss may have been on any of several routes, or have another reason.
    """
    if not losses:
        return 0.0, 0.0
    share = 0.5
    for _ in range(_STEPS):
        lost = 0.0
        for count, before, left in losses:
            lost += count * share * left / (before + share * left)
        found = min(lost / (lost + answered), _ALL)
        done = abs(found - share) < _CLOSE
        share = found
        if done:
            break
    kept = answered * math.log1p(-share)
    return share, kept + sum(
        count * math.log((before + share * left) / before) for count, before, left in losses
    )
