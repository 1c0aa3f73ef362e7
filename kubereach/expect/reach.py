"""Positive expectations: the address answers, every time, from the right backends, with the right source address."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from kubereach.address import Address
from kubereach.context import RunContext
from kubereach.errors import Failure
from kubereach.expect import evidence as missed
from kubereach.expect.converge import converge
from kubereach.expect.evidence import Path, measurable, names, paths, patience, settle
from kubereach.expect.telling import tell
from kubereach.outcome import OK, TIMEOUT, SeriesResult, in_words, ranked
from kubereach.settings import Settings
from kubereach.vantage import Series, Vantage
from kubereach.vantage.group import run_all
from kubereach.vantage.vantage import OUTSIDE
from kubereach.versions import parsed

#: who may answer: the names of pods, or those for each vantage's node
Backends = Collection[str] | Mapping[str, Collection[str]] | None
#: as `source`: the backend must have seen the vantage's own address
OWN = "own"
#: misses after which a hold series ends: enough to tell what is wrong, and a broken path costs one time-out
STOP_AFTER = 3
#: the last version whose kube-proxy forgets all flows of a UDP Service that gets its first endpoint
_FORGETS_FLOWS = (1, 31)
#: probes in a row that must be as expected before a path that may still converge counts as converged: an endpoint that
#: has just been removed is not among the answers of one probe, or of two
CONVERGED = 12


def hold_length(settings: Settings, endpoints: int = 0) -> int:
    """Probes in a row that must all succeed.

    The smallest n with ``(1 - loss)**n < loss_miss``, and so many that a uniform balancer over `endpoints` leaves one
    unseen with a probability below ``endpoint_miss`` (by the union bound: ``k * (1 - 1/k)**n``).
    """
    length = math.floor(math.log(settings.loss_miss) / math.log(1 - settings.loss)) + 1
    if endpoints > 1:
        seen = math.log(settings.endpoint_miss / endpoints) / math.log(1 - 1 / endpoints)
        length = max(length, math.floor(seen) + 1)
    return length


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


def reach(
    vantages: Sequence[Vantage],
    addresses: Sequence[Address],
    backends: Backends,
    every: bool,
    source: str | None,
    within: float | None,
) -> None:
    """See `Expectation.to_reach`."""
    over(paths(vantages, addresses), backends, every, source, within)


def over(
    seen: Sequence[Path],
    backends: Backends = None,
    every: bool = False,
    source: str | None = None,
    within: float | None = None,
) -> None:
    """Each of these paths is answered, as `Expectation.to_reach` has it."""
    context = seen[0].vantage.context
    length = hold_length(context.settings, len(backends or ()) if every else 0)
    # an endpoint that has just been added may still be missing: then a whole series has to show them all
    tried = length if every else CONVERGED
    late = converge(
        [path for path in seen if within is not None or path.address.settled > time.monotonic()],
        lambda path: series_for(path, tried),
        lambda path, result: (
            not _misses(path, result, tried, backends, every, source)
            and not (every and _changing(result, _of(path, backends)))
        ),
        within,
        patient=False,
    )
    # A whole series that was as expected at the first attempt is one that was held. Of several attempts one may be so
    # by luck, on a path that loses packets.
    done = [path for path in seen if path not in late and path.attempts == 1 and tried >= length]
    held = [path for path in seen if path not in late and path not in done]
    begun = time.monotonic()
    results = _held(held, length)
    asked_again = [n for n, path in enumerate(held) if _lost_while_settling(path, results[n], begun)]
    for n, result in zip(asked_again, _held([held[n] for n in asked_again], length), strict=True):
        if result.outcomes.keys() == {OK}:
            path, first = held[n], in_words(results[n].outcomes)
            tell(
                path.vantage,
                f"{path.vantage.name} at {path.address}: {first} while a change settled, then none lost",
            )
        results[n] = result
    for path, result in zip(held, results, strict=True):
        if path.converged < 0 and result.outcomes[OK]:
            path.converged = 0.0
        path.result = result
    for path in seen:
        measurable(path)
        # what did not converge was not held: what its last attempt missed is what there is to say
        asked = path.least = tried if path in late else length
        path.failures += _misses(path, path.result, asked, backends, every, source)
    _second_opinions(seen, context)
    settle(seen)


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


def _held(held: Sequence[Path], length: int) -> list[SeriesResult]:
    """A hold series over each path. A late answer is waited for, while an attempt to converge is soon made again."""
    return run_all([(path.vantage, replace(series_for(path, length), patient=True)) for path in held])


def _lost_while_settling(path: Path, result: SeriesResult, begun: float) -> bool:
    """Whether datagrams of a series that began before its path had settled were lost: they are asked for once more.

    Until 1.31 kube-proxy, when it has programmed a UDP Service that had no endpoint before, forgets all flows to it
    (``conntrack -D --orig-dst``): the answers then under way are not translated back. That is a part of the change, not
    of the path that comes of it. Of one that loses a share of ``settings.loss`` the second series misses some too.
    Later versions forget stale flows alone, so that nothing is lost.
    """
    version = parsed(path.vantage.context.version)
    return (
        path.address.kind == "udp"
        and version is not None
        and version <= _FORGETS_FLOWS
        and path.address.settled > begun
        and result.outcomes.keys() == {OK, TIMEOUT}
    )


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
        cut = "" if len(result.probes) >= length else f" (ended after {len(result.probes)} of {length})"
        miss(missed.LOST, f"{length} answers in a row", in_words(result.outcomes) + cut, *evidence)
    again = [probe for probe in result.probes if probe.retransmits]
    if again:
        total = sum(probe.retransmits for probe in again)
        miss(
            missed.LOST,
            "no packet lost",
            f"{len(again)} of {len(result.probes)} connections needed {total} retransmissions (the kernel counted)",
            f"the slowest of them took {max(probe.seconds for probe in again):.2f} s",
        )
    if wanted is not None:
        seen = frozenset(result.backends)
        if seen - wanted:
            got = f"answers of {names(seen - wanted)} too"
            miss(missed.BACKENDS, f"answers of {names(wanted)} only", got, *evidence)
        if every and wanted - seen and result.outcomes[OK] >= length:
            expected = f"every one of {names(wanted)} to answer"
            miss(missed.MISSING, expected, f"none of {names(wanted - seen)}", *evidence)
    targets = dict(path.address.targets)
    answers = [probe.answer for probe in result.probes if probe.answer.outcome == OK]
    astray = Counter(f"{a.pod} on {a.port}" for a in answers if a.port != targets.get(a.pod, a.port))
    if astray:
        ports = [f"{pod} on {number}" for pod, number in path.address.targets]
        miss(missed.PORT, f"the target port to be hit: {names(ports)}", _shares(astray))
    if source is not None:
        clients = Counter(
            answer.client
            for answer in answers
            if not (path.vantage.is_own(answer) if source == OWN else answer.client == source)
        )
        if clients:
            own = (path.vantage.address or "the client's own address") if source == OWN else source
            miss(missed.SOURCE, f"the backend to see {own}", f"it saw {_shares(clients)}", *evidence)
    return misses


def _evidence(result: SeriesResult) -> list[str]:
    reasons = Counter(p.answer.detail for p in result.probes if p.answer.outcome != OK and p.answer.detail)
    lines = [f"{count} x {reason}" for reason, count in ranked(reasons)[:3]]
    return [*lines, f"answered by {_shares(result.backends)}"] if result.backends else lines


def _shares(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in ranked(counts)[:6])


def _second_opinions(seen: Sequence[Path], context: RunContext) -> None:
    """From outside, an ordinary HTTP client must get through as well."""
    for path in seen:
        if path.vantage.kind == OUTSIDE and path.address.kind == "http" and not path.failures:
            complaint = path.vantage.second_opinion(
                path.address.url + "/who", context.settings.connect_timeout
            )
            if complaint:
                path.fail(
                    "an ordinary HTTP client to get an answer",
                    complaint,
                    "kubereach's own prober did get one",
                )
