"""Expectations of the vantage's own resolver: which addresses it finds for a name, as an exact set, or none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from kubereach.expect.caching import Question
from kubereach.expect.dns_hold import difference, hold, miss_of, wrong_ones
from kubereach.expect.notes import add_note
from kubereach.expect.reach import STOP_AFTER
from kubereach.expect.settle import control_after, measurable, names, paths, patience, settle
from kubereach.model.address import Address
from kubereach.model.convergence import not_before
from kubereach.model.errors import CannotMeasure
from kubereach.model.outcome import NODATA, NXDOMAIN, OK, SERVFAIL, TIMEOUT, Answer, in_words
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_each
from kubereach.probe.path import Path

#: a resolution by the vantage's own resolver may take so many times as long as one query, for it may ask several
_RESOLVER = 1.5
#: and this share of the time after which the resolver sends a query again (5 s with glibc, 2.5 s with musl, less where
#: resolv.conf says so): an answer to a second query would hide that the first, or its answer, was lost
_BEFORE_RESENDING = 0.8
#: as the IP version of a resolution: addresses of either
ANY = 0
#: outcomes of a name that is nowhere to be found, whatever resolver was asked
UNKNOWN_NAME = frozenset({NXDOMAIN, NODATA, SERVFAIL, TIMEOUT})


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


def to_resolve(
    vantages: Sequence[Vantage],
    name: str | Sequence[str],
    addresses: Collection[str],
    *,
    settled: float = 0.0,
    within: float | None = None,
) -> None:
    """The vantage's own resolver finds exactly these addresses (of one family) for the name, or for each name.

    `settled` is when a Service's last change has settled: ``service.settled``.
    """
    limit = not_before(settled, vantages[0].context.settled)
    all_paths = paths(vantages, [resolving(one, limit) for one in _names(name)])
    exactly = frozenset(addresses)
    family = 6 if any(":" in address for address in exactly) else 4

    def right(_: Path, answer: Answer) -> bool:
        return answer.outcome == OK and frozenset(answer.detail.split()) == exactly

    count = vantages[0].context.settings.resolve_hold
    question = Question("AAAA" if family == 6 else "A", lambda found: found.records == exactly)
    hold(all_paths, lambda path, n: resolver_series(path, family, n), right, count, within, question)
    for path in all_paths:
        path.wanted = exactly
        wrong = wrong_ones(path, right)
        if not wrong:
            continue
        miss = miss_of(wrong[0])
        if wrong[0].outcome == OK:
            got = frozenset(wrong[0].detail.split())
            path.fail(f"exactly {names(exactly)}", names(got), *difference(exactly, got), miss=miss)
        else:
            path.fail(names(exactly), in_words(path.result.outcomes), miss=miss)
    settle(all_paths)


def not_to_resolve(
    vantages: Sequence[Vantage], name: str | Sequence[str], *, control: str, settled: float = 0.0
) -> None:
    """The vantage's own resolver knows no such name (NXDOMAIN); `control` is a name that it must know."""
    not_resolve(vantages, _names(name), control, frozenset({NXDOMAIN}), settled)


def not_to_know(vantages: Sequence[Vantage], name: str | Sequence[str], *, control: str = "") -> None:
    """The vantage's own resolver does not find the name, for whatever reason.

    For names that are asked of resolvers outside the cluster as well: what those say is not the cluster's doing.
    """
    not_resolve(vantages, _names(name), control, UNKNOWN_NAME, 0.0)


def not_resolve(
    vantages: Sequence[Vantage], wanted: Sequence[str], control: str, accepted: frozenset[str], settled: float
) -> None:
    """No name of `wanted` is found, with one of the outcomes that are `accepted`."""
    all_paths = paths(vantages, [resolving(name, settled) for name in wanted])

    def right(_: Path, answer: Answer) -> bool:
        return answer.outcome in accepted

    for path in all_paths:
        path.judged = partial(right, path)
    version = vantages[0].context.ip_version
    _control(vantages, control, "before")
    count = min(3, vantages[0].context.settings.resolve_hold)
    hold(
        all_paths,
        lambda path, n: resolver_series(path, version, n),
        right,
        count,
        None,
        Question("AAAA" if version == 6 else "A", lambda found: found.rcode == "NXDOMAIN"),
    )
    for path in all_paths:
        for answer in wrong_ones(path, right)[:1]:
            found = f"it resolves to {answer.detail}" if answer.outcome == OK else answer.detail
            evidence = [found] if found else []
            path.fail(
                "no such name (NXDOMAIN)", in_words(path.result.outcomes), *evidence, miss=miss_of(answer)
            )
    control_after(all_paths, lambda: _control(vantages, control, "after"))
    settle(all_paths)


def _control(vantages: Sequence[Vantage], name: str, when: str) -> None:
    """A name that must resolve, if there is one: from outside, no name of the cluster must."""
    if not name:
        return
    all_paths = paths(vantages, [resolving(name, 0.0)])
    version = vantages[0].context.ip_version
    results = run_each([(path.vantage, resolver_series(path, version, 1)) for path in all_paths])
    for path, result in zip(all_paths, results, strict=True):
        path.result = result
        measurable(path)
        if result.outcomes[OK] != len(result.probes):
            raise CannotMeasure(
                f"the control just {when} failed: {path.vantage.name} resolves {name}: "
                f"{in_words(result.outcomes)}",
                "The resolver does not work at all, so that a name without records proves nothing.",
            )


def to_find(vantages: Sequence[Vantage], name: str) -> None:
    """The vantage's own resolver finds the name, whatever its addresses, which are in the report."""
    all_paths = paths(vantages, [resolving(name, 0.0)])
    count = vantages[0].context.settings.resolve_hold

    def right(_: Path, answer: Answer) -> bool:
        return answer.outcome == OK

    hold(all_paths, lambda path, n: resolver_series(path, ANY, n), right, count, None)
    for path in all_paths:
        for answer in wrong_ones(path, right)[:1]:
            path.fail("an address", in_words(path.result.outcomes), miss=miss_of(answer))
        if path.failures or path.unmeasured:
            continue
        addresses = frozenset(a for probe in path.result.probes for a in probe.answer.detail.split())
        add_note(path.vantage, f"{path.vantage.name}: {name} resolves to {names(addresses)}")
    settle(all_paths)


def _names(name: str | Sequence[str]) -> list[str]:
    return [name] if isinstance(name, str) else list(name)
