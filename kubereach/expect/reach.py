"""Positive expectations: the address answers, every time, from the right backends, with the right source address."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from kubereach.expect.converge import converge, latest, remaining
from kubereach.expect.hold import held, hold_length, longer, note_flaps, spent
from kubereach.expect.settle import names, paths, patience, settle, was_measured
from kubereach.expect.where import Where
from kubereach.expect.younger import await_younger, proves_nothing, remember
from kubereach.model import misses as missed
from kubereach.model.errors import Failure
from kubereach.model.outcome import OK, SeriesResult, in_words, ranked
from kubereach.model.plural import plural
from kubereach.probe import Series, Vantage
from kubereach.probe.context import RunContext
from kubereach.probe.group import run_each
from kubereach.probe.path import Path
from kubereach.probe.vantage import OUTSIDE

#: who may answer: the names of pods, or those for each vantage's node
Backends = Collection[str] | Mapping[str, Collection[str]] | None
#: as `source`: the backend must have seen the vantage's own address
OWN = "own"
#: misses after which a hold series ends: enough to tell what is wrong, and a broken path costs one time-out
STOP_AFTER = 3
#: probes in a row that must be as expected before a path that may still converge counts as converged: an endpoint that
#: has just been removed is not among the answers of one probe, or of two
CONVERGED = 12


def series_for(path: Path, count: int = 1) -> Series:
    """The series of `count` positive probes over a path."""
    address, context = path.address, path.vantage.context
    settings = context.settings
    return Series(
        address.kind,
        address.host,
        address.port,
        count=count,
        in_flight=settings.hold_in_flight,
        timeout=patience(path, settings.udp_timeout if address.kind == "udp" else settings.connect_timeout),
        stop_after=STOP_AFTER,
        retransmits=address.kind in ("http", "tcp"),
        nonce=context.nonce,
        more={"family": address.family},
    )


def to_reach(
    vantages: Sequence[Vantage],
    where: Where,
    *,
    backends: Backends = None,
    every: bool = False,
    source: str | None = None,
    within: float | None = None,
) -> None:
    """The address answers; then so many times in a row that a loss of ``settings.loss`` would have been noticed.

    `backends`: names of the pods that may answer, and nobody else (by the vantage's node, if it is a mapping);
    `every`: each of them does. `source`: the client's address that the backends must have seen, `OWN` for the
    vantage's own. A connection that needed a retransmission is a miss.
    """
    over(paths(vantages, where), backends, every, source, within)


def over(
    all_paths: Sequence[Path],
    backends: Backends = None,
    every: bool = False,
    source: str | None = None,
    within: float | None = None,
) -> None:
    """Each of these paths is answered, as `to_reach` has it."""
    reaching = _Reaching(all_paths, backends, every, source, within)
    reaching.converge_and_hold()
    for path in all_paths:
        path.failures += reaching.misses(path)
        path.least = reaching.due(path)
        if not was_measured(path):
            # a probe that could not be made is no lost one; an answer that is wrong is wrong all the same
            path.failures = [failure for failure in path.failures if failure.miss != missed.LOST]
            continue
        if path.failures:
            continue
        remember(path)
        note_flaps([path])
    _second_opinions(all_paths, all_paths[0].vantage.context)
    settle(all_paths)


class _Reaching:
    """One expectation over its paths: each converges, is held, and if it misses before it has settled, once more."""

    def __init__(
        self,
        all_paths: Sequence[Path],
        backends: Backends,
        every: bool,
        source: str | None,
        within: float | None,
    ) -> None:
        self._paths, self._backends, self._every, self._source = all_paths, backends, every, source
        self._begun, self._within = time.monotonic(), within
        self._settings = all_paths[0].vantage.context.settings
        self._endpoints = len(backends or ()) if every else 0
        #: those that may still converge: only they can be held more than once
        self._unsettled = {id(path) for path in all_paths if self._begun < self._limit(path)}
        # an endpoint that has just been added may still be missing: then a whole series has to show them all
        self._tried = self._length(again=0) if every else CONVERGED
        #: series that were held before the first one that is called a hold: each takes its share of ``loss_miss``
        self._before = int(every)
        #: how long the last series of each path was to be
        self._due = dict.fromkeys(map(id, all_paths), self._tried)

    def converge_and_hold(self) -> None:
        """Leave each path with the series that counts: of one that did not converge, its last attempt."""
        late = self._converge([path for path in self._paths if id(path) in self._unsettled])
        unproved = [path for path in self._paths if proves_nothing(path, self._wanted(path))]
        if not late:  # what has not converged fails anyway
            await_younger(unproved)
        # A whole series that was as expected at the first attempt is one that was held, unless it may have been the old
        # rules that answered. Of several attempts one may be so by luck, on a path that loses packets.
        open_paths = [
            path
            for path in self._paths
            if path not in late and not (self._every and path.attempts == 1 and path not in unproved)
        ]
        left = held(
            open_paths,
            self._hold,
            self._missed,
            self._converge,
            self._limit,
            self._wrong,
            tried=self._before,
        )
        for path in open_paths:
            if path in left:
                self._due[id(path)] = self._tried
            if path.converged < 0 and path.result.outcomes[OK]:
                path.converged = 0.0

    def due(self, path: Path) -> int:
        """How many probes the last series of a path was to have."""
        return self._due[id(path)]

    def misses(self, path: Path) -> list[Failure]:
        """What is not as expected in the last series of a path."""
        return _misses(path, path.result, self.due(path), self._backends, self._every, self._source)

    def _missed(self, path: Path) -> str:
        return next((failure.got for failure in self.misses(path)), "")

    def _wrong(self, path: Path) -> bool:
        """Whether an answer is wrong, and not only missing."""
        return any(failure.miss != missed.LOST for failure in self.misses(path))

    def _wanted(self, path: Path) -> frozenset[str] | None:
        """The pods that may answer on a path, None if anybody may; all of them have to, where `every` was asked for."""
        return _of(path, self._backends)

    def _limit(self, path: Path) -> float:
        return latest(path, self._begun, self._within)

    def _length(self, again: int) -> int:
        return hold_length(self._settings, self._endpoints, spent(self._settings, again))

    def _converge(self, some: Sequence[Path]) -> list[Path]:
        return converge(
            some,
            lambda path: series_for(path, self._tried),
            self._converges,
            remaining(self._begun, self._within),
            patient=False,
        )

    def _converges(self, path: Path, result: SeriesResult) -> bool:
        return not _misses(path, result, self._tried, self._backends, self._every, self._source) and not (
            self._every and _changing(result, _of(path, self._backends))
        )

    def _hold(self, some: Sequence[Path], again: int) -> list[SeriesResult]:
        whole = hold_length(self._settings, self._endpoints)
        for path in some:
            self._due[id(path)] = (
                self._length(again)
                if id(path) in self._unsettled
                else longer(self._settings, whole, again - self._before)
            )
        # a late answer is waited for, while an attempt to converge is soon made again
        return run_each(
            [(path.vantage, replace(series_for(path, self._due[id(path)]), patient=True)) for path in some]
        )


def _of(path: Path, backends: Backends) -> frozenset[str] | None:
    """The pods that may answer on a path; None if anybody may."""
    if isinstance(backends, Mapping):
        return frozenset(backends.get(path.vantage.node, ()))
    return None if backends is None else frozenset(backends)


def _changing(result: SeriesResult, backends: frozenset[str] | None) -> bool:
    """Whether some endpoint was seen in one half of a series alone.

    A series that was under way when the data plane followed a change may show every endpoint, first the old ones and
    then the new ones, and none of them together: that is no balancing over all of them. By luck it is so once in
    thousands of series, which costs another attempt.
    """
    pods = [probe.answer.pod for probe in result.probes]
    middle = len(pods) // 2
    return not (backends or frozenset()) <= frozenset(pods[:middle]) & frozenset(pods[middle:])


def _misses(
    path: Path,
    result: SeriesResult,
    length: int,
    backends: Backends,
    every: bool,
    source: str | None,
) -> list[Failure]:
    """What is not as expected in a series of `length` probes over a path."""
    wanted = _of(path, backends)
    misses: list[Failure] = []
    evidence = _evidence(result)

    def miss(word: str, expected: str, got: str, *lines: str) -> None:
        misses.append(Failure(path.vantage.name, str(path.address), expected, got, lines, word))

    if result.outcomes[OK] < len(result.probes):
        cut = (
            ""
            if len(result.probes) >= length
            else f" (stopped after {len(result.probes)} of {length} probes)"
        )
        miss(missed.LOST, f"{length} answers in a row", in_words(result.outcomes) + cut, *evidence)
    again = [probe for probe in result.probes if probe.retransmits]
    if again:
        total = sum(probe.retransmits for probe in again)
        miss(
            missed.LOST,
            "no packet lost",
            f"{len(again)} of {len(result.probes)} connections needed {plural(total, 'retransmission')} "
            f"({result.how_counted})",
            f"the slowest of them took {max(probe.seconds for probe in again):.2f} s",
        )
    if wanted is not None:
        answering = frozenset(result.backends)
        if answering - wanted:
            got = f"also answers from {names(answering - wanted)}"
            miss(missed.BACKENDS, f"answers only from {names(wanted)}", got, *evidence)
        if every and wanted - answering and result.outcomes[OK] >= length:
            expected = f"answers from each of {names(wanted)}"
            miss(missed.MISSING, expected, f"none from {names(wanted - answering)}", *evidence)
    targets = dict(path.address.targets)
    answers = [probe.answer for probe in result.probes if probe.answer.outcome == OK]
    astray = Counter(f"{a.pod} on {a.port}" for a in answers if a.port != targets.get(a.pod, a.port))
    if astray:
        ports = [f"{pod} on {number}" for pod, number in path.address.targets]
        miss(missed.PORT, f"connections to the target port: {names(ports)}", _shares(astray))
    if source is not None:
        clients = Counter(
            answer.client
            for answer in answers
            if not (path.vantage.is_own(answer) if source == OWN else answer.client == source)
        )
        if clients:
            own = (path.vantage.address or "the client's own address") if source == OWN else source
            miss(
                missed.SOURCE,
                f"the backend sees {own} as source IP",
                f"source IP {_shares(clients)}",
                *evidence,
            )
    return misses


def _evidence(result: SeriesResult) -> list[str]:
    reasons = Counter(p.answer.detail for p in result.probes if p.answer.outcome != OK and p.answer.detail)
    lines = [f"{count} x {reason}" for reason, count in ranked(reasons)[:3]]
    lines += [ports] if (ports := result.lost_ports) else []
    return [*lines, f"answered by {_shares(result.backends)}"] if result.backends else lines


def _shares(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in ranked(counts)[:6])


def _second_opinions(all_paths: Sequence[Path], context: RunContext) -> None:
    """From outside, an ordinary HTTP client must get through as well."""
    for path in all_paths:
        if (
            path.vantage.kind == OUTSIDE
            and path.address.kind == "http"
            and not (path.failures or path.unmeasured)
        ):
            complaint = path.vantage.second_opinion(
                path.address.url + "/who", context.settings.connect_timeout
            )
            if complaint:
                path.fail(
                    "an answer to an ordinary HTTP client",
                    complaint,
                    "kubereach's own prober got an answer",
                )
