"""A barrier: a Service that is younger than a change answers, so that the change has been followed by then.

A path that answered as wanted before a change proves nothing about it while it goes on to do so: it may be the old
rules that answer. Service proxies take changes in the order in which they were made; where a Service that was made
after the change answers, the change is in force (kube-proxy has one informer of Services, and programs all that it
knows of at once).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from kubereach.expect.converge import converge
from kubereach.expect.settle import measurable
from kubereach.model.address import SERVED
from kubereach.model.convergence import ConvergenceDeadline
from kubereach.model.errors import CannotMeasure
from kubereach.model.outcome import OK, in_words
from kubereach.probe import Series
from kubereach.probe.context import Answered
from kubereach.probe.path import Path
from kubereach.probe.vantage import OUTSIDE


def _key(path: Path) -> tuple[str, str, str, int]:
    return path.vantage.name, path.address.kind, path.address.host, path.address.port


def remember(path: Path) -> None:
    """Keep who has answered on a path that was as expected."""
    answered = Answered(time.monotonic(), frozenset(path.result.backends))
    path.vantage.context.answered[_key(path)] = answered


def proves_nothing(path: Path, wanted: frozenset[str] | None) -> bool:
    """Whether a path that is as expected was so before its last change: the endpoints in `wanted` answered then.

    That it has missed in between does not tell: a hurried attempt of a busy machine may have. What goes by a name, or
    past all Services, follows no service proxy: another Service proves nothing of it.
    """
    settled = path.address.settled
    if not isinstance(settled, ConvergenceDeadline) or not path.attempts or path.address.way not in SERVED:
        return False
    before = path.vantage.context.answered.get(_key(path))
    return before is not None and before.at < settled.since and (wanted is None or before.pods <= wanted)


def await_younger(all_paths: Sequence[Path]) -> None:
    """Make a Service for each IP version of the paths, and wait until it answers from where each of them begins.

    Raises `CannotMeasure` where it does not: as with a control, what answers then proves nothing. What leads to a node
    port is served by that node, and so is its barrier. What leads to other addresses from outside has none.
    """
    for version in sorted({path.address.version for path in all_paths}):
        _await([path for path in all_paths if path.address.version == version], version)


def _await(all_paths: Sequence[Path], version: int) -> None:
    by_node = [path for path in all_paths if path.address.way == "nodeport"]
    from_inside = [path for path in all_paths if path not in by_node and path.vantage.kind != OUTSIDE]
    if not by_node and not from_inside:
        return
    context = all_paths[0].vantage.context
    with context.younger(bool(by_node), version) as (address, node_port):
        places = [(path, address) for path in from_inside]
        places += [
            (path, replace(address, way="nodeport", host=path.address.host, port=node_port))
            for path in by_node
        ]
        barriers = [(path, replace(path, address=place, attempts=0)) for path, place in places]
        late = converge(
            [younger for _, younger in barriers], _single, lambda _, result: result.outcomes[OK] == 1
        )
        for path, younger in barriers:
            if younger in late:
                measurable(younger)
                raise CannotMeasure(
                    f"{path.vantage.name} does not reach a Service that was created after the change of "
                    f"{path.address}: {younger.address}: {in_words(younger.result.outcomes)}",
                    "Answers may still come from the state before the change; see the checks of new Services.",
                )
            path.converged = max(path.converged, younger.converged)


def _single(path: Path) -> Series:
    settings, address = path.vantage.context.settings, path.address
    return Series(
        address.kind,
        address.host,
        address.port,
        timeout=settings.connect_timeout,
        nonce=path.vantage.context.nonce,
        more={"family": address.family},
    )
