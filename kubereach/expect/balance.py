"""How requests are spread over endpoints, and what chance allows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence

from kubereach.expect.converge import converge
from kubereach.expect.notes import add_note
from kubereach.expect.reach import CONVERGED, series_for
from kubereach.expect.settle import paths, settle, was_measured
from kubereach.expect.where import Where
from kubereach.model.misses import SHARE
from kubereach.model.outcome import OK
from kubereach.probe import Vantage
from kubereach.probe.group import run_each

#: chance of calling a balancer unfair that picks each endpoint with equal probability
_FALSE_ALARM = 1e-9


def to_be_balanced(
    vantages: Sequence[Vantage], where: Where, *, backends: Collection[str], count: int = 200
) -> None:
    """Over `count` connections of each vantage every backend gets its share, within what chance allows.

    The distribution is in the report. A fair balancer fails with a probability below 1e-9.
    """
    all_paths = paths(vantages, where)
    converge(
        all_paths,
        lambda path: series_for(path, CONVERGED),
        lambda _, result: result.outcomes[OK] == CONVERGED and set(result.backends) <= set(backends),
        patient=False,
    )
    shares: Counter[str] = Counter(dict.fromkeys(backends, 0))
    # a path that loses requests says nothing new about shares, and each of them costs a time-out
    wanted = [(path.vantage, series_for(path, count)) for path in all_paths]
    for path, result in zip(all_paths, run_each(wanted), strict=True):
        path.result = result
        if was_measured(path):
            shares.update(result.backends)
    total, even = shares.total(), 1 / len(backends)
    if total:
        margin = deviation(total, len(backends))
        words = ", ".join(f"{pod} {number}" for pod, number in sorted(shares.items()))
        add_note(vantages[0], f"{total} requests over {len(backends)} endpoints: {words}")
        pod, number = max(shares.items(), key=lambda item: abs(item[1] / total - even))
        if abs(number / total - even) > margin:
            all_paths[0].fail(
                f"{even:.0%} of {total} requests for each of {len(backends)} endpoints, plus or minus "
                f"{margin:.0%}",
                f"{pod} got {number / total:.0%}",
                words,
                miss=SHARE,
            )
    elif not any(path.unmeasured for path in all_paths):
        all_paths[0].fail(f"answers from {', '.join(sorted(backends))}", "none")
    settle(all_paths)


def deviation(total: int, endpoints: int) -> float:
    """How far an endpoint's share of `total` requests may be from even, by chance.

    Hoeffding's inequality: P(|share - 1/k| >= d) <= 2 exp(-2 n d^2), for each of k endpoints.
    """
    return math.sqrt(math.log(2 * endpoints / _FALSE_ALARM) / (2 * total))
