"""Negative expectations: nobody answers there. They need a positive control, made just before and just after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kubereach.expect.converge import converge
from kubereach.expect.middlebox import Middleboxes, note, words
from kubereach.expect.notes import add_note
from kubereach.expect.reach import series_for
from kubereach.expect.settle import control_after, measurable, paths, settle, was_measured
from kubereach.expect.where import Where
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure
from kubereach.model.misses import ANSWERED as TAKEN
from kubereach.model.misses import NO_REFUSAL
from kubereach.model.outcome import (
    ANSWERED,
    DENIED,
    OK,
    REFUSED,
    TIMEOUT,
    UNANSWERED,
    UNREACHABLE,
    SeriesResult,
    any_of,
    in_words,
)
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_each
from kubereach.probe.path import Path
from kubereach.probe.vantage import NODE

#: probes of a control and of a negative: refusals are rate-limited, so there are few of them
CONTROL, PROBES = 3, 2
#: probes of a negative for which silence conforms, and the seconds between them
ATTEMPTS, SPACING = 4, 0.05
#: they wait at least so many times as long as the slowest answer of the control took
SLOWER = 20


def refused_outcomes(vantage: Vantage, address: Address) -> frozenset[str]:
    """What a refusal looks like.

    UDP from a node's own process is rejected in its own output path, so that send() fails with EPERM and there is no
    ICMP error to receive: seen with kube-proxy's nftables and iptables modes alike.
    """
    if address.kind == "udp" and vantage.kind == NODE:
        return frozenset({REFUSED, DENIED})
    return frozenset({REFUSED})


def _refused_at_connect(path: Path, result: SeriesResult) -> bool:
    """Whether each probe was refused, by connect() itself where not by a packet, and the node's service proxy does so.

    Who translates at the socket has no packet to answer: it lets connect() fail, with EHOSTUNREACH (Cilium) or EPERM
    (Calico, some releases of Cilium). From anybody else these are no refusals: the first is a route's or a router's,
    the second a firewall's.
    """
    answers = [probe.answer for probe in result.probes]
    errnos = {answer.at_connect for answer in answers if answer.outcome != REFUSED}
    if not errnos or not errnos <= {"EHOSTUNREACH", "EPERM"}:
        return False
    proxy = path.vantage.context.proxy_on(path.vantage.node)
    if proxy is None or not proxy.at_connect:
        return False
    path.note = (
        f"{path.vantage.name}: connect() returns {', '.join(sorted(errnos))}, which is how "
        f"{proxy} rejects connections"
    )
    return True


def to_be_refused(
    vantages: Sequence[Vantage], where: Where, *, control: Where, within: float | None = None
) -> None:
    """Connections are refused, not ignored. `control` is what the same vantages must reach, before and after."""
    negative(vantages, where, None, control, within)


def not_to_be_answered(
    vantages: Sequence[Vantage], where: Where, *, control: Where, within: float | None = None
) -> None:
    """Nobody answers, in whatever way: refused, timed out, unreachable or denied by the node's own rules.

    What is taken and then reset was answered: somebody is there. `control` as for `to_be_refused`.
    """
    negative(vantages, where, UNANSWERED, control, within)


def negative(
    vantages: Sequence[Vantage],
    where: Where,
    conforming: frozenset[str] | None,
    control: Where,
    within: float | None,
) -> None:
    """Only outcomes that are `conforming`; None: refusals, as they look from each vantage.

    What a middlebox's answer is worth, see `kubereach.expect.middlebox`.
    """
    all_paths = paths(vantages, where)
    slowest = _control(vantages, control, "before")
    wanted = {id(path): conforming or refused_outcomes(path.vantage, path.address) for path in all_paths}

    def waits_for_refusal(path: Path) -> bool:
        return TIMEOUT not in wanted[id(path)]

    def any_silence(path: Path) -> bool:
        # whoever answers for nobody hides none of what conforms: that no endpoint answers is all there is to see
        return wanted[id(path)] >= UNANSWERED

    def rationed(path: Path) -> bool:
        # a refusal on the node itself is no packet, so that nothing limits its rate
        return waits_for_refusal(path) and path.vantage.kind != NODE

    def conforms(path: Path, result: SeriesResult) -> bool:
        if result.outcomes[TIMEOUT] and rationed(path):
            path.vantage.refusals.empty()
        if all(probe.answer.outcome in wanted[id(path)] for probe in result.probes):
            return True
        if conforming is None and _refused_at_connect(path, result):
            wanted[id(path)] |= {UNREACHABLE, DENIED}
            return True
        return any_silence(path) and middleboxes.answer(path, result) is not None

    def silence(path: Path) -> float:
        """Seconds after which no answer is silence."""
        settings = path.vantage.context.settings
        return min(max(settings.silence, SLOWER * slowest), settings.connect_timeout)

    def series(path: Path) -> Series:
        context = path.vantage.context
        settings = context.settings
        if not waits_for_refusal(path):
            # several attempts that are silent, one soon after the other, say more than one that waits for long
            return Series(
                path.address.kind,
                path.address.host,
                path.address.port,
                count=ATTEMPTS,
                in_flight=ATTEMPTS,
                spacing=SPACING,
                timeout=silence(path),
                wanted=tuple(wanted[id(path)]),
                nonce=context.nonce,
            )
        return Series(
            path.address.kind,
            path.address.host,
            path.address.port,
            count=PROBES,
            in_flight=PROBES,
            delay=path.vantage.refusals.take(PROBES) if rationed(path) else 0.0,
            paced=True,
            timeout=settings.udp_timeout if path.address.kind == "udp" else settings.connect_timeout,
            wanted=tuple(wanted[id(path)]),
            nonce=context.nonce,
        )

    middleboxes = Middleboxes(all_paths, series)
    # so few probes that the attempt which converges is the one that holds
    late = converge(all_paths, series, conforms, within)
    # a client whose ration others have used up hears nothing either: what counts came after a wait for all of it
    converge(
        [path for path in late if rationed(path) and path.result.outcomes[TIMEOUT]], series, conforms, 0.0
    )
    hidden: dict[int, str] = {}

    def judge(path: Path) -> None:
        path.least = PROBES if waits_for_refusal(path) else ATTEMPTS
        if not was_measured(path) and not path.result.outcomes.keys() & ANSWERED:
            return
        answer = middleboxes.answer(path, path.result)
        if answer is None:
            _judge(path, wanted[id(path)])
            return
        note(path, answer)
        if not any_silence(path):
            hidden[id(path)] = f"{path.vantage.name} -> {path.address}: {words(answer)}"

    def conforming_ones(some: Sequence[Path]) -> list[Path]:
        return [path for path in some if not (path.failures or path.unmeasured or id(path) in hidden)]

    for path in all_paths:
        judge(path)
    for line in dict.fromkeys(path.note for path in all_paths if path.note and not path.failures):
        add_note(all_paths[0].vantage, line)
    after = control_after(all_paths, lambda: _control(vantages, control, "after"))
    short = [path for path in conforming_ones(all_paths) if _too_short(path, silence(path), after)]
    if short:
        # once more, with all the patience that a probe has
        patient = [
            (p.vantage, replace(series(p), timeout=p.vantage.context.settings.connect_timeout)) for p in short
        ]
        for path, result in zip(short, run_each(patient), strict=True):
            path.result = result
            judge(path)
        after = control_after(all_paths, lambda: _control(vantages, control, "after"))
        for path in conforming_ones(short):
            if why := _too_short(path, path.vantage.context.settings.connect_timeout, after):
                path.unmeasured = CannotMeasure(
                    f"{path.vantage.name} -> {path.address}: {why}",
                    "The nodes were too loaded to distinguish silence from a late answer: run it again with "
                    "less load.",
                )
    settle([path for path in all_paths if id(path) not in hidden])
    if hidden:
        raise CannotMeasure(
            f"a middlebox answers, as it does for unassigned addresses: {'; '.join(hidden.values())}",
            "Exempt the cluster's addresses from the network's transparent proxy: it hides whether "
            "they answer.",
        )


def _too_short(path: Path, waited: float, after: float) -> str:
    """Why an answer might have come later than it was waited for, where none came; else empty.

    `after` is how long the slowest answer of the control took afterwards, in seconds.
    """
    late = path.vantage.context.lateness.since(path.vantage.name, path.began).backends
    if not path.result.outcomes[TIMEOUT] or max(after, late) <= waited:
        return ""
    return (
        f"no answer within {waited:.1f} s, but answers of the control took up to {after:.1f} s, "
        f"and timers of backends fired up to {late:.1f} s late"
    )


def _judge(path: Path, conforming: frozenset[str]) -> None:
    """A miss that says nothing about the address (a name that did not resolve, for one) is no verdict.

    An answer where there must be none weighs more than what is silent, or could not be tried, beside it.
    """
    for probe in sorted(path.result.probes, key=lambda probe: probe.answer.outcome not in ANSWERED):
        answer = probe.answer
        if answer.outcome in conforming:
            continue
        if answer.outcome not in ANSWERED | UNANSWERED:
            path.unmeasured = CannotMeasure(
                f"{path.vantage.name} could not probe {path.address}: {in_words(path.result.outcomes)} "
                f"{answer.detail}"
            )
            return
        who = f"answered by pod {answer.pod}" if answer.pod else answer.detail
        miss = TAKEN if answer.outcome in ANSWERED else NO_REFUSAL
        path.fail(any_of(conforming), in_words(path.result.outcomes), *([who] if who else []), miss=miss)
        return


def _control(vantages: Sequence[Vantage], control: Where, when: str) -> float:
    """The same probes on paths that must work; gives the seconds that the slowest took.

    Raises `CannotMeasure` when they do not work: the negative says nothing.
    """
    if not control:
        raise CannotMeasure("a negative expectation without a control measures nothing")
    all_paths = paths(vantages, control)
    late = converge(
        all_paths,
        lambda path: series_for(path, CONTROL),
        lambda _, result: result.outcomes[OK] == len(result.probes),
    )
    for path in all_paths:
        measurable(path)
    if late:
        path = late[0]
        raise CannotMeasure(
            f"the control just {when} failed: {path.vantage.name} -> {path.address}: {in_words(path.result.outcomes)}",
            "The control path must work; without it, silence on other paths proves nothing. See the "
            "checks of that path.",
        )
    return max(latency for path in all_paths for latency in path.result.latencies)
