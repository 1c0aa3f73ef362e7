"""Much at once, and much in one piece: bursts of connections, transfers, datagrams that are larger than a packet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from kubereach.expect.converge import converge
from kubereach.expect.hold import hold_length
from kubereach.expect.pairs import SAMPLE
from kubereach.expect.reach import CONVERGED, STOP_AFTER, series_for
from kubereach.expect.settle import names, paths, settle, was_measured
from kubereach.expect.where import ByNode, Where
from kubereach.model.misses import MISSING
from kubereach.model.outcome import OK, Answer, SeriesResult, in_words
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_each
from kubereach.probe.path import Path

#: sizes that tell which packets a path does not carry: those of Ethernet less what tunnels take, and half of it
_SIZES = (600, 1200, 1300, 1372, 1400, 1422, 1450, 1472)


def to_take_a_burst(vantages: Sequence[Vantage], where: Where, *, count: int) -> None:
    """So many connections at once from one client, one vantage after the other, are all answered."""
    all_paths = paths(vantages, where)
    for path in reached(all_paths):
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


def to_transfer(
    vantages: Sequence[Vantage], where: Where | ByNode, *, size: int, backends: Collection[str] = ()
) -> None:
    """So many bytes get to a backend over one HTTP connection, and back again, unchanged.

    `backends`: names of the pods behind an address, each of which has to have had its transfer. Connections are made
    until that is so; a uniform balancer leaves one out with a probability below ``settings.endpoint_miss``.
    """
    all_paths = paths(vantages, where)
    sound = reached(all_paths)
    settings = all_paths[0].vantage.context.settings
    stall, pods = settings.stall_timeout, max(1, len(backends))
    wanted = [
        Series(
            "transfer",
            path.address.host,
            path.address.port,
            count=hold_length(settings, pods) if backends else 1,
            timeout=10 * stall,
            stop_after=STOP_AFTER,
            nonce=path.vantage.context.nonce,
            more={"size": size, "stall": stall, "pods": pods},
        )
        for path in sound
    ]
    results = run_each([(path.vantage, series) for path, series in zip(sound, wanted, strict=True)])
    for path, series, result in zip(sound, wanted, results, strict=True):
        path.series, path.result = series, result
        if not was_measured(path):
            continue
        if result.outcomes[OK] != len(result.probes):
            lost = {f"{a.pod} on {a.node}" for a in _lost(path) if a.pod}
            with_whom = f"; not with {names(frozenset(lost))}" if lost and backends else ""
            got = in_words(result.outcomes) + with_whom
            path.fail(f"{size} bytes in both directions", got, *(answer.detail for answer in _lost(path)))
        elif left := frozenset(backends) - frozenset(result.backends):
            got = f"no connection to {names(left)} among {series.count}"
            path.fail(f"{size} bytes to and from each of {names(frozenset(backends))}", got, miss=MISSING)
    settle(all_paths)


def _lost(path: Path) -> list[Answer]:
    """What became of the probes that got no answer."""
    return [probe.answer for probe in path.result.probes if probe.answer.outcome != OK]


def to_carry(
    vantages: Sequence[Vantage],
    where: Where | ByNode,
    *,
    size: int,
    count: int = CONVERGED,
    sample: int = SAMPLE,
) -> None:
    """`count` datagrams of so many bytes are answered by as many; if not, the failure says which size still is.

    `sample`: how many other nodes each node tries, where addresses are given by node.
    They are sent one after the other: several large ones at once are more than the buffer of a socket takes
    (socket(7), rmem_default), which would lose them at a backend that is only busy.
    """
    all_paths = paths(vantages, where, sample)
    sound = reached(all_paths)
    wanted = [
        (path.vantage, replace(series_for(path, count), in_flight=1, patient=True, more={"size": size}))
        for path in sound
    ]
    for path, (_, series), result in zip(sound, wanted, run_each(wanted), strict=True):
        path.series, path.result, path.least = series, result, count
        was_measured(path)
    measured = [path for path in sound if not path.unmeasured]
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


def reached(all_paths: Sequence[Path]) -> list[Path]:
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
