"""Much at once, and much in one piece: bursts of connections, transfers, datagrams that are larger than a packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kubereach.address import Address
from kubereach.expect.converge import converge
from kubereach.expect.evidence import Path, measurable, paths, settle
from kubereach.expect.reach import CONVERGED, series_for
from kubereach.outcome import OK, in_words
from kubereach.vantage import Series, Vantage
from kubereach.vantage.group import run_all

#: seconds that all connections of a burst may take: they wait for the backends, which are few
_BURST_SECONDS = 10.0
#: seconds without progress after which a transfer has stalled; TCP sends again after 0.2, 0.4, 0.8, ... seconds
_STALL = 4.0
#: sizes that tell which packets a path does not carry: those of Ethernet less what tunnels take, and half of it
_SIZES = (600, 1200, 1300, 1372, 1400, 1422, 1450, 1472)


def burst(vantages: Sequence[Vantage], addresses: Sequence[Address], count: int) -> None:
    """See `Expectation.to_take_a_burst`."""
    seen = _reached(paths(vantages, addresses))
    for path in seen:
        series = series_for(path, count)
        # a SYN that is sent again is what a burst may cost: a full queue of a backend, not a lost packet
        series = replace(
            series, in_flight=count, timeout=_BURST_SECONDS, burst=True, retransmits=False, stop_after=0
        )
        path.series, path.result = series, path.vantage.run(series)
        measurable(path)
        if path.result.outcomes[OK] != count:
            path.fail(f"all of {count} connections at once answered", in_words(path.result.outcomes))
    settle(seen)


def transfer(vantages: Sequence[Vantage], addresses: Sequence[Address], size: int) -> None:
    """See `Expectation.to_transfer`."""
    seen = _reached(paths(vantages, addresses))
    wanted = [
        Series(
            "transfer",
            path.address.host,
            path.address.port,
            timeout=10 * _STALL,
            nonce=path.vantage.context.nonce,
            more={"size": size, "stall": _STALL},
        )
        for path in seen
    ]
    results = run_all([(path.vantage, series) for path, series in zip(seen, wanted, strict=True)])
    for path, series, result in zip(seen, wanted, results, strict=True):
        path.series, path.result = series, result
        measurable(path)
        if result.outcomes[OK] != 1:
            path.fail(f"{size} bytes up and down", in_words(result.outcomes), result.probes[0].answer.detail)
    settle(seen)


def datagrams(vantages: Sequence[Vantage], addresses: Sequence[Address], size: int) -> None:
    """See `Expectation.to_carry`."""
    seen = _reached(paths(vantages, addresses))
    wanted = [(path.vantage, replace(series_for(path, CONVERGED), more={"size": size})) for path in seen]
    for path, (_, series), result in zip(seen, wanted, run_all(wanted), strict=True):
        path.series, path.result = series, result
        measurable(path)
        if result.outcomes[OK] != len(result.probes):
            path.fail(f"datagrams of {size} bytes answered", in_words(result.outcomes), _largest(path))
    settle(seen)


def _largest(path: Path) -> str:
    """Up to which size datagrams are answered: where a path's packets end is where its MTU is wrong."""
    series = [(path.vantage, replace(series_for(path, 3), more={"size": size})) for size in _SIZES]
    passed = [size for size, result in zip(_SIZES, run_all(series), strict=True) if result.outcomes[OK]]
    if not passed:
        return f"not even datagrams of {_SIZES[0]} bytes are answered"
    lost = [size for size in _SIZES if size > max(passed)]
    beyond = f", of {lost[0]} bytes are not" if lost else "; only those of several packets are not"
    return f"datagrams of up to {max(passed)} bytes are answered{beyond}"


def _reached(seen: list[Path]) -> list[Path]:
    """Wait for what may still converge; what does not is then seen to fail."""
    converge(
        seen,
        lambda path: series_for(path, 1),
        lambda _, result: result.outcomes[OK] == 1,
        patient=False,
    )
    return seen
