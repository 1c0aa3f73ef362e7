"""Expectations that hold while something is changed: new connections all the time, or one that stays open."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from kubereach.expect.reach import series_for
from kubereach.expect.settle import paths, settle, was_measured
from kubereach.expect.where import Where, addresses_of
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure
from kubereach.model.misses import BACKENDS, FLOW
from kubereach.model.outcome import OK, WORDS, Probe, SeriesResult, in_words
from kubereach.model.plural import plural
from kubereach.probe import Series, Vantage
from kubereach.probe.group import known
from kubereach.probe.path import Path
from kubereach.probe.running_series import RunningSeries

#: seconds between two new connections of a vantage to an address; any change of rules takes longer than this
SPACING = 0.01
#: seconds between two pings of a flow
PING = 0.1
#: answers in a row from the right pod after which a flow counts as moved
MOVED = 5
#: unanswered pings in a row after which a flow counts as ended: the network may lose one
ENDED = 3
#: pings that a flow has at least: one before what is changed meanwhile, and the last one after it
_BOTH_ENDS = 2
#: more than anybody waits for
_WITHOUT_END = 10_000_000


@contextmanager
def to_keep_reaching(
    vantages: Sequence[Vantage],
    where: Where,
    *,
    backends: Collection[str] | None = None,
    drain: float | None = None,
) -> Iterator[None]:
    """While the block runs, new connections are made all the time, and none of them is lost or late.

    A packet that had to be sent again counts as lost. `backends`: the pods that may answer. `drain`: seconds for
    which the pods wait before they end. Where connections are lost and a change has taken longer than that to be
    followed, the pods may have ended before the service proxies could know: `CannotMeasure`.
    """
    all_paths = paths(vantages, where)
    ongoing = _begin(all_paths, lambda path: _endless(series_for(path, _WITHOUT_END)))
    begun = time.monotonic()
    try:
        yield
    finally:
        lasted = time.monotonic() - begun
        # the streams must be free again, also when the block failed; what has broken hides no failure
        results = [known(one.stop) for one in ongoing]
    for path, result in zip(all_paths, results, strict=True):
        path.result, path.least = result, least_connections(path, lasted)
        foreign = result.backends.keys() - set(backends) if backends is not None else set()
        if backends is not None and foreign:
            got = f"answers from {', '.join(sorted(foreign))}"
            path.fail(f"answers from {', '.join(sorted(backends))}", got, miss=BACKENDS)
        lost = [p for p in result.probes if p.answer.outcome != OK or p.retransmits]
        if not was_measured(path):
            continue
        slowest = path.vantage.context.followed
        if lost and drain is not None and slowest > drain:
            path.unmeasured = CannotMeasure(
                f"{len(lost)} connections were lost; terminating pods waited {drain:g} s, but service "
                f"proxies took up to {slowest:.1f} s to follow a change",
                "Run it again: pods wait three times as long as the slowest change of the run so far.",
            )
        elif lost:
            path.fail(
                f"all of {len(result.probes)} new connections answered",
                f"{len(lost)} lost or late: {in_words(_outcomes(lost))}",
                _when(min(lost, key=lambda probe: probe.at), result),
            )
        elif not foreign:
            path.unmeasured = _idle(path, lasted)
    settle(all_paths)


def least_connections(path: Path, lasted: float) -> int:
    """New connections that a prober with its turns makes in `lasted` seconds: one for each time-out, and the first.

    Its places for connections are free again after a time-out at most, so that it makes several times as many.
    """
    return 1 + int(lasted / _time_out(path))


def _time_out(path: Path) -> float:
    """Seconds for which a connection waits for an answer: not fewer where something has failed already."""
    settings = path.vantage.context.settings
    return settings.udp_timeout if path.address.kind == "udp" else settings.connect_timeout


def _idle(path: Path, lasted: float) -> CannotMeasure | None:
    """The error of a path with a time-out's length without any connection being made or under way; None otherwise.

    What was lost in such a pause, nobody would know.
    """
    limit = _time_out(path)
    covered, pause = 0.0, 0.0
    for probe in sorted(path.result.probes, key=lambda probe: probe.at):
        pause = max(pause, probe.at - covered)
        covered = max(covered, probe.at + probe.seconds)
    pause = max(pause, lasted - covered)
    if pause <= limit:
        return None
    return CannotMeasure(
        f"{path.vantage.name} made no connection to {path.address} for {pause:.1f} s, though it "
        "should make many",
        "Its prober was not scheduled: check the load of its node.",
    )


def _outcomes(probes: Sequence[Probe]) -> dict[str, int]:
    found: dict[str, int] = {}
    for probe in probes:
        word = probe.answer.outcome if probe.answer.outcome != OK else "retransmitted"
        found[word] = found.get(word, 0) + 1
    return found


def _when(probe: Probe, result: SeriesResult) -> str:
    answer = probe.answer
    what = f"{plural(probe.retransmits, 'retransmission')} ({result.how_counted})"
    if answer.outcome != OK:
        what = f"{WORDS.get(answer.outcome, answer.outcome)} {answer.detail}".strip()
    return f"the first one {probe.at:.2f} s after the start: {what}"


def _endless(series: Series) -> Series:
    # it goes on after a miss: every lost one counts
    return replace(series, spacing=SPACING, stop_after=0, times=True)


class Flow:
    """Open TCP connections, or UDP flows from a fixed port, for each vantage and address: `count` of them."""

    def __init__(self, vantages: Sequence[Vantage], where: Where, every: float, count: int = 1) -> None:
        self._paths = paths(vantages, [address for address in addresses_of(where) for _ in range(count)])
        self._every = every
        for path in self._paths:
            path.series = self._series(path)
        self._ongoing = _begin(self._paths, self._series)
        self._ended = False

    def _series(self, path: Path) -> Series:
        address = path.address
        if address.kind not in ("tcp", "udp"):
            raise CannotMeasure(f"a flow needs an address that echoes lines or datagrams, {address} does not")
        return Series(
            "flow",
            address.host,
            address.port,
            count=_WITHOUT_END,
            spacing=self._every,
            timeout=_time_out(path),
            times=True,
            nonce=path.vantage.context.nonce,
            more={"transport": address.kind},
        )

    def must_stay(self, pods: Collection[str]) -> None:
        """End the flow: every ping was answered, and by one of `pods`. Raises `NotConforming`, `CannotMeasure`."""
        results = [known(one.stop) for one in self._ongoing]
        self._ended = True
        broken: set[tuple[str, Address]] = set()
        for path, result in zip(self._paths, results, strict=True):
            path.result, path.least = result, _BOTH_ENDS
            foreign = [p for p in result.probes if p.answer.outcome == OK and p.answer.pod not in pods]
            path.astray = bool(foreign)
            wrong = foreign
            if was_measured(path):
                wrong = [p for p in result.probes if p.answer.outcome != OK or p.answer.pod not in pods]
            # of several alike one says what there is to say
            if wrong and (path.vantage.name, path.address) not in broken:
                broken.add((path.vantage.name, path.address))
                path.fail(
                    f"every ping answered by {', '.join(sorted(pods))}",
                    f"{in_words(result.outcomes)} of {len(result.probes)} pings",
                    _ping(wrong[0]),
                    miss=FLOW,
                )
        settle(self._paths)

    def must_move(self, pods: Collection[str]) -> None:
        """End the flow when one of `pods` answers it, some times in a row, which it must within the deadline.

        Raises `NotConforming`, `CannotMeasure`.
        """
        settings = self._paths[0].vantage.context.settings
        results = self._end_when(pods, MOVED, settings.converge_deadline)
        for path, result in zip(self._paths, results, strict=True):
            path.result, path.least = result, MOVED
            if not was_measured(path):
                continue
            last = result.probes[-MOVED:]
            if len(last) < MOVED or any(p.answer.outcome != OK or p.answer.pod not in pods for p in last):
                tail = SeriesResult(last, 0.0)
                path.fail(
                    f"answered by {', '.join(sorted(pods))} within {settings.converge_deadline:.0f} s",
                    f"the last ones: {in_words(tail.outcomes)}",
                    _ping(last[-1]),
                    miss=FLOW,
                )
            else:
                path.converged = last[0].at
        settle(self._paths)

    def must_have_ended(self) -> None:
        """End the flow when it is not answered any more, which must be within ``flow_end_deadline``.

        To be said when new flows get no answer any more. Raises `NotConforming`, `CannotMeasure`.
        """
        settings = self._paths[0].vantage.context.settings
        results = self._end_when((), ENDED, settings.flow_end_deadline)
        for path, result in zip(self._paths, results, strict=True):
            path.result, path.least = result, _BOTH_ENDS
            if not was_measured(path):
                continue
            # a connection that is broken is not tried again
            last = result.probes[-1 if path.address.kind == "tcp" else -ENDED :]
            answered = [p for p in last if p.answer.outcome == OK]
            if answered:
                path.fail(
                    "no more answers", f"still answered by {answered[-1].answer.pod}", _ping(answered[-1])
                )
            elif not result.outcomes[OK]:
                path.fail("answers before the change", in_words(result.outcomes), _ping(last[-1]))
        settle(self._paths)

    def _end_when(self, pods: Collection[str], times: int, within: float) -> list[SeriesResult]:
        for one in self._ongoing:
            one.end_when(pods, times, within)
        self._ended = True
        return [known(one.result) for one in self._ongoing]

    def end(self) -> None:
        """End the flow without a verdict, if that has not been done; safe to call twice."""
        if not self._ended:
            self._ended = True
            for one in self._ongoing:
                known(one.stop)


def _ping(probe: Probe) -> str:
    answer = probe.answer
    what = f"answered by {answer.pod}" if answer.outcome == OK else WORDS.get(answer.outcome, answer.outcome)
    return f"{probe.at:.1f} s after its start: {what} {answer.detail}".rstrip()


@contextmanager
def flow(vantages: Sequence[Vantage], where: Where, *, every: float = PING, count: int = 1) -> Iterator[Flow]:
    """Open a TCP connection (port ``line``) or a UDP flow from one port (``datagram``), with a ping every so often.

    `every` is seconds; `count` of them are opened from each vantage to each address.
    Change something in the block, then say what must have become of the flow: `Flow.must_stay`, `Flow.must_move`.
    """
    opened = Flow(vantages, where, every, count)
    try:
        yield opened
    finally:
        opened.end()


def _begin(all_paths: Sequence[Path], series: Callable[[Path], Series]) -> list[RunningSeries]:
    started: list[RunningSeries] = []
    try:
        for path in all_paths:
            started.append(path.vantage.begin(series(path)))
    except BaseException:
        for one in started:
            known(one.stop)
        raise
    return started
