"""Positive expectations: the address answers, every time, from the right backends, with the right source address."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Sequence

from kubereach.address import Address
from kubereach.context import RunContext
from kubereach.expect.converge import converge
from kubereach.expect.evidence import Path, measurable, names, paths, settle
from kubereach.outcome import FOREIGN, OK, in_words
from kubereach.settings import Settings
from kubereach.vantage import Series, Vantage
from kubereach.vantage.group import run_all
from kubereach.vantage.vantage import OUTSIDE

#: as `source`: the backend must have seen the vantage's own address
OWN = "own"
#: misses after which a hold series ends: enough to tell what is wrong, and a broken path costs one time-out
STOP_AFTER = 3


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


def series_for(address: Address, context: RunContext, count: int = 1) -> Series:
    """The series of `count` positive probes to an address."""
    settings = context.settings
    return Series(
        address.kind,
        address.host,
        address.port,
        count=count,
        in_flight=settings.hold_in_flight,
        timeout=settings.udp_timeout if address.kind == "udp" else settings.connect_timeout,
        stop_after=STOP_AFTER,
        retransmits=address.kind in ("http", "tcp"),
        nonce=context.nonce,
    )


def reach(
    vantages: Sequence[Vantage],
    addresses: Sequence[Address],
    backends: Collection[str] | None,
    every: bool,
    source: str | None,
    within: float | None,
) -> None:
    """See `Expectation.to_reach`."""
    seen = paths(vantages, addresses)
    context = vantages[0].context
    late = converge(
        [path for path in seen if within is not None or path.address.settled > time.monotonic()],
        lambda path: series_for(path.address, context),
        lambda _, result: result.outcomes[OK] == len(result.probes),
        within,
    )
    length = hold_length(context.settings, len(backends or ()) if every else 0)
    held = [path for path in seen if path not in late]
    results = run_all([(path.vantage, series_for(path.address, context, length)) for path in held])
    for path, result in zip(held, results, strict=True):
        if path.converged < 0 and result.outcomes[OK]:
            path.converged = 0.0
        path.result = result
    for path in seen:
        measurable(path)
        _judge(path, length, backends, every, source)
    _second_opinions(seen, context)
    settle(seen)


def _judge(
    path: Path, length: int, backends: Collection[str] | None, every: bool, source: str | None
) -> None:
    result = path.result
    expected = f"{length} answers in a row" if length > 1 else "an answer"
    reasons = Counter(
        probe.answer.detail for probe in result.probes if probe.answer.outcome != OK and probe.answer.detail
    )
    evidence = [f"{count} x {reason}" for reason, count in reasons.most_common(3)]
    if result.backends:
        evidence.append(f"answered by {_shares(result.backends)}")
    if result.outcomes[OK] < len(result.probes):
        cut = "" if len(result.probes) >= length else f" (ended after {len(result.probes)} of {length})"
        path.fail(expected, in_words(result.outcomes) + cut, *evidence)
    again = [probe for probe in result.probes if probe.retransmits]
    if again:
        total = sum(probe.retransmits for probe in again)
        slowest = max(probe.seconds for probe in again)
        path.fail(
            "no packet lost",
            f"{len(again)} of {len(result.probes)} connections needed {total} retransmissions (the kernel counted)",
            f"the slowest of them took {slowest:.2f} s",
        )
    if backends is not None:
        wanted = frozenset(backends)
        strangers = frozenset(result.backends) - wanted
        if strangers:
            path.fail(f"answers of {names(wanted)} only", f"answers of {names(strangers)} too", *evidence)
        missing = wanted - frozenset(result.backends)
        if every and missing and result.outcomes[OK] >= length:
            path.fail(f"every one of {names(wanted)} to answer", f"none of {names(missing)}", *evidence)
    targets = dict(path.address.targets)
    astray = Counter(
        f"{probe.answer.pod} on {probe.answer.port}"
        for probe in result.probes
        if probe.answer.outcome == OK
        and probe.answer.port != targets.get(probe.answer.pod, probe.answer.port)
    )
    if astray:
        wanted_ports = [f"{pod} on {number}" for pod, number in path.address.targets]
        path.fail(f"the target port to be hit: {names(wanted_ports)}", _shares(astray))
    if source is not None:
        own = path.vantage.address if source == OWN else source
        clients = Counter(p.answer.client for p in result.probes if p.answer.outcome == OK)
        other = frozenset(clients) - {own}
        if other:
            path.fail(f"the backend to see {own}", f"it saw {_shares(clients)}", *evidence)
    if result.outcomes[FOREIGN] and not path.failures:
        path.fail(expected, in_words(result.outcomes), *evidence)


def _shares(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common(6))


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
