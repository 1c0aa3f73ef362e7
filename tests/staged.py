"""Vantages that play a script, and time that passes only where it is waited for: expectations without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from backends import NONCE

from kubereach.model.address import Address
from kubereach.model.outcome import OK, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.probe import Series
from kubereach.probe.context import RunContext

ADDRESS = Address("clusterip", "http", "10.96.0.1", 80)
CONTROL = Address("clusterip", "http", "10.96.0.9", 80)
#: seconds that a probe takes that is answered
ANSWERED_IN = 0.01


@dataclass
class Clock:
    """Seconds, as time.monotonic() gives them. Nobody waits for more than an hour."""

    now: float

    def __post_init__(self) -> None:
        self._end = self.now + 3600

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)
        assert self.now < self._end, "this would be waited for without end"


def ok(pod: str = "a", **more: object) -> Answer:
    return Answer(OK, pod=pod, nonce=NONCE, client="10.0.0.1", **more)  # type: ignore[arg-type]


def played(series: Series, answers: Iterable[Answer]) -> SeriesResult:
    """The series as a prober makes it whose probes meet these answers, one after the other; the last one for ever."""
    left = iter(answers)
    answer = Answer(TIMEOUT)
    probes: list[Probe] = []
    missed, seconds = 0, series.delay
    for _ in range(series.count):
        answer = next(left, answer)
        taken = series.timeout if answer.outcome == TIMEOUT else ANSWERED_IN
        probes.append(Probe(answer, taken))
        seconds += taken if answer.outcome == TIMEOUT else 0.0
        missed += answer.outcome not in series.wanted
        if series.stop_after and missed >= series.stop_after:
            break
    return SeriesResult(tuple(probes), seconds + ANSWERED_IN)


@dataclass(eq=False)
class Staged:
    """A vantage whose prober gives what `script` says of a series, at once but for the clock."""

    context: RunContext
    clock: Clock
    script: Callable[[Series], Iterable[Answer] | SeriesResult]
    kind: str = "pod"
    node: str = "one"
    address: str = "10.0.0.1"
    pod: str = "p"
    namespace: str = "n"
    #: what was asked of it, and when
    asked: list[Series] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    #: what an ordinary client finds, and what it was asked
    opinion: str = ""
    opinions: list[tuple[str, float]] = field(default_factory=list)
    #: refusals that were taken, "empty" where it was found that there are none; and seconds until there are some
    taken: list[object] = field(default_factory=list)
    wait: float = 1.5

    def __post_init__(self) -> None:
        self.name = f"{self.kind}@{self.node}"
        self.refusals = SimpleNamespace(
            take=lambda count: self.taken.append(count) or self.wait,
            empty=lambda: self.taken.append("empty"),
        )

    #: seconds after which its resolver asks again
    resends_after = 5.0

    def open(self) -> None:
        """Its prober is there."""

    def submit(self, series: Series) -> Future[SeriesResult]:
        self.asked.append(series)
        self.at.append(self.clock.now)
        found = self.script(series)
        done: Future[SeriesResult] = Future()
        done.set_result(found if isinstance(found, SeriesResult) else played(series, found))
        return done

    def collect(self, future: Future[SeriesResult], series: Series, waited: float = 0.0) -> SeriesResult:
        result = future.result()
        started = self.at[max(n for n, one in enumerate(self.asked) if one is series)]
        self.clock.now = max(self.clock.now, started + result.seconds)
        return result

    def is_own(self, answer: Answer) -> bool:
        return answer.client == self.address

    def second_opinion(self, url: str, timeout: float) -> str:
        self.opinions.append((url, timeout))
        return self.opinion


def noting(context: RunContext, *turns: Iterable[Answer]) -> Callable[[Series], SeriesResult]:
    """A script of series whose prober's timers were a second late, and which says so of each miss.

    `turns` are the answers of one series after the other; the last goes on.
    """
    left = iter(turns)
    last: list[Iterable[Answer]] = [()]

    def script(series: Series) -> SeriesResult:
        last[0] = next(left, last[0])
        result = played(series, last[0])
        probes = tuple(replace(p, late=0.0 if p.answer.outcome == OK else 1.0) for p in result.probes)
        result = replace(result, probes=probes, late=1.0)
        context.lateness.note("pod@one", result)
        return result

    return script
