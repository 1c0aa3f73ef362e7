"""Session affinity: a client that keeps to one endpoint, and one that is let go.

Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#session-affinity
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from kubereach.expect.converge import converge, latest
from kubereach.expect.hold import held, longer, note_flaps
from kubereach.expect.reach import CONVERGED, series_for
from kubereach.expect.settle import paths, settle, was_measured
from kubereach.expect.where import Where
from kubereach.model.errors import CannotMeasure, Failure, NotConforming, Unsupported
from kubereach.model.misses import LOST, SPREAD
from kubereach.model.outcome import OK, SeriesResult, in_words, ranked
from kubereach.model.tally import judged
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_each
from kubereach.probe.path import Path

#: the pod that answers a vantage at an address, by the two's names
Stuck = Mapping[tuple[str, str], str]
#: chance of blaming a cluster for what was luck
_FALSE_ALARM = 1e-9


def to_stick(
    vantages: Sequence[Vantage],
    where: Where,
    *,
    count: int = 50,
    pause: float = 0.0,
    kept: Stuck | None = None,
) -> dict[tuple[str, str], str]:
    """Each vantage is answered by one endpoint alone, over `count` connections, `pause` seconds apart.

    Gives that endpoint for each (vantage, address); `kept` is what it was before and still must be.
    """
    all_paths, begun = paths(vantages, where), time.monotonic()

    def right(path: Path, result: SeriesResult) -> bool:
        pods, before = result.backends, _before(path, kept)
        return result.outcomes[OK] == len(result.probes) and len(pods) == 1 and before in (None, *pods)

    def run(some: Sequence[Path], again: int) -> list[SeriesResult]:
        length = longer(all_paths[0].vantage.context.settings, count, again)
        return run_each([(path.vantage, _slow(series_for(path, length), pause)) for path in some])

    def converged(some: Sequence[Path]) -> list[Path]:
        return converge(some, lambda path: series_for(path, CONVERGED), right, patient=False)

    late = converged([path for path in all_paths if path.address.settled > begun])
    held(
        [path for path in all_paths if path not in late],
        run,
        lambda path: "" if right(path, path.result) else _spread(path.result),
        converged,
        lambda path: latest(path, begun),
        lambda path: _astray(path, kept),
    )
    note_flaps([path for path in all_paths if right(path, path.result)])
    for path in all_paths:
        path.least = count
        if was_measured(path) or _astray(path, kept):
            _judge(path, right(path, path.result), kept, pause)
    settle(all_paths)
    return {_key(path): next(iter(path.result.backends)) for path in all_paths}


def _key(path: Path) -> tuple[str, str]:
    return path.vantage.name, str(path.address)


def _before(path: Path, kept: Stuck | None) -> str | None:
    """The pod that has to answer as it did before; None if any may."""
    return kept.get(_key(path)) if kept is not None else None


def _astray(path: Path, kept: Stuck | None) -> bool:
    """Whether more than one pod has answered, or another than before."""
    before = _before(path, kept)
    return len(path.result.backends.keys() | ({before} if before else set())) > 1


def _slow(series: Series, pause: float) -> Series:
    """One after the other, with so many seconds between two connections."""
    return replace(series, in_flight=1, spacing=pause, times=True) if pause else series


def _judge(path: Path, right: bool, kept: Stuck | None, pause: float) -> None:
    if right:
        return
    result = path.result
    lost = result.outcomes[OK] != len(result.probes)
    begun = sorted(probe.at for probe in result.probes)
    longest = max((later - sooner for sooner, later in pairwise(begun)), default=0.0)
    # a probe that is not answered makes the client silent too, but that is not its machine's fault
    if pause and longest > 2 * pause and not lost:
        path.unmeasured = CannotMeasure(
            f"{path.vantage.name} should have connected every {pause:g} s but paused for {longest:.1f} s",
            "Its node is overloaded: check its load.",
        )
        return
    before = _before(path, kept)
    apart = f", {pause:g} s apart" if pause else ""
    expected = f"one endpoint for all of {len(result.probes)} connections{apart}"
    if before:
        expected = f"{before}, as before, for all of {len(result.probes)} connections{apart}"
    miss = LOST if lost and not _astray(path, kept) else SPREAD
    path.fail(expected, _spread(result), in_words(result.outcomes), miss=miss)


def _spread(result: SeriesResult) -> str:
    shares = ", ".join(f"{pod} {number}" for pod, number in ranked(result.backends))
    return shares or in_words(result.outcomes)


def to_leave_endpoint(
    vantages: Sequence[Vantage], where: Where, *, after: float, kept: Stuck, endpoints: int
) -> None:
    """After so many seconds of silence some of the vantages are at another of `endpoints` than `kept` says.

    Each may be at the same one by chance: all of `n` stay of `k` endpoints with a probability of ``k ** -n``.
    Raises `CannotMeasure` where that is more than 1e-9: then it takes more addresses.
    """
    all_paths = paths(vantages, where)
    _enough(float(endpoints) ** -len(all_paths), f"{len(all_paths)} clients at {endpoints} endpoints")
    series = [replace(series_for(path, 1), delay=after) for path in all_paths]
    stayed = 0
    for path, result in zip(
        all_paths, run_each([(p.vantage, s) for p, s in zip(all_paths, series, strict=True)]), strict=True
    ):
        path.result = result
        if was_measured(path) and result.outcomes[OK] != len(result.probes):
            path.fail("an answer", in_words(result.outcomes))
        stayed += kept[_key(path)] in result.backends
    all_stayed = stayed == len(all_paths) and not any(path.failures for path in all_paths)
    lingering = [path.vantage.context.proxy_on(path.vantage.node) for path in all_paths] if all_stayed else []
    if lingering and all(proxy is not None and proxy.ipvs for proxy in lingering):
        settle(all_paths)
        raise Unsupported(
            f"{lingering[0]}: IPVS keeps session affinity until the client's last connection has "
            "expired, two minutes after it was closed (kubernetes #89358)"
        )
    if all_stayed:
        all_paths[0].fail(
            f"at least one of {len(all_paths)} clients on another endpoint after {after:g} s idle",
            "all stayed on their endpoints",
            miss=SPREAD,
        )
    settle(all_paths)


def to_spread_clients(vantages: Sequence[Vantage], kept: Stuck, *, endpoints: int) -> None:
    """Several vantages of one node are clients of their own: not every Service of `kept` has them at one endpoint.

    Raises `CannotMeasure` where luck may do that with a probability of more than 1e-9.
    """
    places: dict[str, list[str]] = {}
    for vantage in vantages:
        places.setdefault(vantage.node, []).append(vantage.name)
    crowded = {node: clients for node, clients in places.items() if len(clients) > 1}
    addresses = sorted({address for _, address in kept})
    chance = sum(float(endpoints) ** -(len(addresses) * (len(clients) - 1)) for clients in crowded.values())
    _enough(chance if crowded else 1.0, f"{len(addresses)} Services, clients by node: {places}")
    judged(len(crowded), len(crowded))
    failures = []
    for clients in crowded.values():
        if all(len({kept[client, address] for client in clients}) == 1 for address in addresses):
            expected = f"{len(clients)} clients on one node on different endpoints"
            got = f"the same endpoint for all of them at each of {len(addresses)} Services"
            failures.append(Failure(", ".join(clients), addresses[0], expected, got))
    if failures:
        raise NotConforming(failures)


def tries(endpoints: int, clients: int, nodes: int = 1) -> int:
    """Services that it takes until chance cannot be blamed.

    That many have `clients` independent clients each stay where they were, on one of `nodes`, with a probability below
    1e-9: the smallest n with ``nodes * endpoints ** -(n * clients) < 1e-9``.
    """
    return math.ceil(math.log(nodes / _FALSE_ALARM) / math.log(endpoints) / clients)


def _enough(chance: float, what: str) -> None:
    """Raise `CannotMeasure` where a failure might be luck."""
    if chance > _FALSE_ALARM:
        raise CannotMeasure(f"too few attempts to distinguish affinity from chance ({chance:.1e}): {what}")
