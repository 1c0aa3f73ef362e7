"""Much at once, and much in one piece: bursts of connections, transfers, datagrams that are larger than a packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kubereach.expect.converge import converge
from kubereach.expect.reach import CONVERGED, series_for
from kubereach.expect.settle import paths, settle, was_measured
from kubereach.expect.where import Where
from kubereach.model.outcome import OK, SeriesResult, in_words
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_each
from kubereach.probe.path import Path

#: sizes that tell which packets a path does not carry: those of Ethernet less what tunnels take, and half of it
_SIZES = (600, 1200, 1300, 1372, 1400, 1422, 1450, 1472)


def to_take_a_burst(vantages: Sequence[Vantage], where: Where, *, count: int) -> None:
    """So many connections at once from one client, one vantage after the other, are all answered."""
    all_paths = paths(vantages, where)
    for path in _reached(all_paths):
        series = series_for(path, count)
        timeout = path.vantage.context.settings.burst_timeout
        # a SYN that is sent again is what a burst may cost: a full queue of a backend, not a lost packet
        series = replace(
            series, in_flight=count, timeout=timeout, burst=True, retransmits=False, stop_after=0
        )
        path.series, path.result, path.least = series, run_each([(path.vantage, series)])[0], count
        if was_measured(path) and path.result.outcomes[OK] != count:
            path.fail(f"answers to all of {count} simultaneous connections", in_words(path.result.outcomes))
    settle(all_paths)


def to_transfer(vantages: Sequence[Vantage], where: Where, *, size: int) -> None:
    """So many bytes get to a backend over one HTTP connection, and back again, unchanged."""
    all_paths = paths(vantages, where)
    reached = _reached(all_paths)
    stall = all_paths[0].vantage.context.settings.stall_timeout
    wanted = [
        Series(
            "transfer",
            path.address.host,
            path.address.port,
            timeout=10 * stall,
            nonce=path.vantage.context.nonce,
            more={"size": size, "stall": stall},
        )
        for path in reached
    ]
    results = run_each([(path.vantage, series) for path, series in zip(reached, wanted, strict=True)])
    for path, series, result in zip(reached, wanted, results, strict=True):
        path.series, path.result = series, result
        if was_measured(path) and result.outcomes[OK] != 1:
            path.fail(
                f"{size} bytes in both directions", in_words(result.outcomes), result.probes[0].answer.detail
            )
    settle(all_paths)


def to_carry(vantages: Sequence[Vantage], where: Where, *, size: int) -> None:
    """Datagrams of so many bytes are answered by as many; if not, the failure says which size still is."""
    all_paths = paths(vantages, where)
    reached = _reached(all_paths)
    wanted = [(path.vantage, replace(series_for(path, CONVERGED), more={"size": size})) for path in reached]
    for path, (_, series), result in zip(reached, wanted, run_each(wanted), strict=True):
        path.series, path.result, path.least = series, result, CONVERGED
        was_measured(path)
    measured = [path for path in reached if not path.unmeasured]
    losing = [path for path in measured if path.result.outcomes[OK] != len(path.result.probes)]
    for path, largest in zip(losing, _largest(losing), strict=True):
        path.fail(f"answers to datagrams of {size} bytes", in_words(path.result.outcomes), largest)
    settle(all_paths)


def _largest(all_paths: Sequence[Path]) -> list[str]:
    """Up to which size each path's datagrams are answered: where they end is where its MTU is wrong."""
    requests = [
        (path.vantage, replace(series_for(path, 3), more={"size": size}))
        for path in all_paths
        for size in _SIZES
    ]
    results = run_each(requests)
    return [_up_to(results[n : n + len(_SIZES)]) for n in range(0, len(results), len(_SIZES))]


def _up_to(results: Sequence[SeriesResult]) -> str:
    passed = [size for size, result in zip(_SIZES, results, strict=True) if result.outcomes[OK]]
    if not passed:
        return f"no answer to datagrams, not even of {_SIZES[0]} bytes"
    lost = [size for size in _SIZES if size > max(passed)]
    beyond = (
        f", but not to datagrams of {lost[0]} bytes" if lost else "; only fragmented datagrams get no answer"
    )
    return f"answers to datagrams of up to {max(passed)} bytes{beyond}"


def _reached(all_paths: Sequence[Path]) -> list[Path]:
    """Wait for what may still converge, and give it. What does not answer a single probe has failed with that."""
    late = converge(
        all_paths,
        lambda path: series_for(path, 1),
        lambda _, result: result.outcomes[OK] == 1,
        patient=False,
    )
    for path in late:
        if was_measured(path):
            path.fail("an answer to a single small probe before", in_words(path.result.outcomes))
    return [path for path in all_paths if not (path.failures or path.unmeasured)]
