"""What nodes tell load balancers of a Service: whether they have endpoints of it.

Source: https://kubernetes.io/docs/tutorials/services/source-ip/#source-ip-for-services-with-type-loadbalancer
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from kubereach.address import Address
from kubereach.expect.converge import converge
from kubereach.expect.evidence import LOST, STATUS, Path, measurable, paths, settle
from kubereach.expect.reach import series_for
from kubereach.outcome import OK, SeriesResult, in_words
from kubereach.vantage import Series, Vantage
from kubereach.vantage.group import run_all

#: the path that cloud providers ask for
_PATH = "/healthz"
#: requests in a row
_HOLD = 5


def told(vantages: Sequence[Vantage], addresses: Sequence[Address], good: Collection[str]) -> None:
    """See `Expectation.to_be_told_health`; `good` are the hosts that have endpoints."""
    seen = paths(vantages, addresses)

    def series(path: Path) -> Series:
        # load balancers ask without a nonce, and the answer is not one of our backends'
        more = {"path": _PATH, "status": True}
        return replace(series_for(path, _HOLD), nonce="", more=more)

    def right(path: Path, result: SeriesResult) -> bool:
        statuses = {probe.answer.detail for probe in result.probes if probe.answer.outcome == OK}
        return result.outcomes[OK] == len(result.probes) and statuses == {_wanted(path, good)}

    late = converge(seen, series, right, patient=False)
    held = [path for path in seen if path not in late]
    for path, result in zip(held, run_all([(p.vantage, series(p)) for p in held]), strict=True):
        path.result, path.least = result, _HOLD
    for path in seen:
        measurable(path)
        if not right(path, path.result):
            statuses = {p.answer.detail for p in path.result.probes if p.answer.outcome == OK}
            wrong = statuses - {_wanted(path, good)}
            # a request that was lost is not hidden behind the status of the others
            got = f"status {', '.join(sorted(statuses))}" if wrong else in_words(path.result.outcomes)
            path.fail(f"status {_wanted(path, good)}", got, miss=STATUS if wrong else LOST)
    settle(seen)


def _wanted(path: Path, good: Collection[str]) -> str:
    return "200" if path.address.host in good else "503"
