"""What nodes tell load balancers of a Service: whether they have endpoints of it.

Source: https://kubernetes.io/docs/tutorials/services/source-ip/#source-ip-for-services-with-type-loadbalancer
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from kubereach.expect.converge import converge, latest
from kubereach.expect.hold import held, longer, note_flaps
from kubereach.expect.reach import series_for
from kubereach.expect.settle import paths, settle, was_measured
from kubereach.kube.cluster import Node
from kubereach.model.address import Address
from kubereach.model.misses import LOST, STATUS
from kubereach.model.outcome import OK, SeriesResult, in_words
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_each
from kubereach.probe.path import Path
from kubereach.world.service import Service

#: the path that cloud providers ask for
_PATH = "/healthz"
#: requests in a row
_HOLD = 5


def to_get_health_checks(vantages: Sequence[Vantage], service: Service, *, nodes: Sequence[Node]) -> None:
    """The Service's health-check node port answers 200 on the nodes with ready endpoints, 503 on all others."""
    on = {node.name: service.addresses.health_check_on(node) for node in nodes}
    good = [address.host for name, address in on.items() if name in service.endpoints.by_node]
    statuses(vantages, list(on.values()), good)


def statuses(vantages: Sequence[Vantage], addresses: Sequence[Address], good: Collection[str]) -> None:
    """The addresses answer 200 where their host is among the `good` ones, and 503 elsewhere."""
    all_paths, begun = paths(vantages, addresses), time.monotonic()

    def series(path: Path) -> Series:
        # load balancers ask without a nonce, and the answer is not one of our backends'
        more = {"path": _PATH, "status": True}
        return replace(series_for(path, _HOLD), nonce="", more=more)

    def right(path: Path, result: SeriesResult) -> bool:
        return result.outcomes[OK] == len(result.probes) and _statuses(result) == {_wanted(path, good)}

    def run(some: Sequence[Path], again: int) -> list[SeriesResult]:
        count = longer(all_paths[0].vantage.context.settings, _HOLD, again)
        return run_each([(path.vantage, replace(series(path), count=count)) for path in some])

    def converged(some: Sequence[Path]) -> list[Path]:
        return converge(some, series, right, patient=False)

    late = converged(all_paths)
    held(
        [path for path in all_paths if path not in late],
        run,
        lambda path: "" if right(path, path.result) else in_words(path.result.outcomes),
        converged,
        lambda path: latest(path, begun),
        lambda path: bool(_statuses(path.result) - {_wanted(path, good)}),
    )
    note_flaps([path for path in all_paths if right(path, path.result)])
    for path in all_paths:
        path.least = _HOLD
        found = _statuses(path.result)
        wrong = found - {_wanted(path, good)}
        if (was_measured(path) and not right(path, path.result)) or wrong:
            # a request that was lost is not hidden behind the status of the others
            got = f"status {', '.join(sorted(found))}" if wrong else in_words(path.result.outcomes)
            path.fail(f"status {_wanted(path, good)}", got, miss=STATUS if wrong else LOST)
    settle(all_paths)


def _statuses(result: SeriesResult) -> set[str]:
    return {probe.answer.detail for probe in result.probes if probe.answer.outcome == OK}


def _wanted(path: Path, good: Collection[str]) -> str:
    return "200" if path.address.host in good else "503"
