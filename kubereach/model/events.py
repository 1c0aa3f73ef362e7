"""The one stream of events that a run emits. Reports, progress and the matrix consume it, unknown to the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from kubereach.model.errors import Failure
from kubereach.model.known_defects import KnownDefect
from kubereach.model.outcome import Answered


@dataclass(frozen=True)
class Event:
    """Something that happened; `at` is seconds since the epoch."""

    at: float = field(default_factory=time.time, kw_only=True)


@dataclass(frozen=True)
class RunStarted(Event):
    """The target is open. `checks` are the selected ids; `cluster` describes what was found (version, nodes, ...)."""

    target: str
    checks: tuple[str, ...]
    cluster: dict[str, object]


@dataclass(frozen=True)
class ClusterKnown(Event):
    """More is known of the cluster than when the run started; `cluster` describes it as `RunStarted` does."""

    cluster: dict[str, object]


@dataclass(frozen=True)
class Progress(Event):
    """A step on long work, for people: ``waiting for 17 pods: 12 ready``."""

    text: str


@dataclass(frozen=True)
class WorldReady(Event):
    """All objects of the selected checks are applied, their pods ready and the vantages open."""

    seconds: float
    pods: int
    vantages: tuple[str, ...]


@dataclass(frozen=True)
class CheckStarted(Event):
    """A check (one pytest item) begins. `case` tells parametrised items apart, else empty."""

    id: str
    case: str = ""


@dataclass(frozen=True)
class Probed(Event):
    """A series of probes over one path is over: one cell's worth of the matrix.

    `way` is the way of reaching (``clusterip``, ``nodeport``, ``loadbalancer``, ``dns``, ``headless``,
    ``externalname``, ``api-server``, ``pod``), `vantage_kind` is ``pod``, ``other-namespace``, ``node`` or ``outside``,
    `latencies` are seconds, `outcomes` counts by outcome. `converged` is the seconds until the first expected outcome,
    since `change` if one was open, see `kubereach.model.convergence`, found at the last of so many `attempts`. `probe`
    says what was asked (``http``, ``udp of 1200 bytes``), `answered` who answered how fast. `late` is the seconds by
    which timers of the vantage, or of backends that it heard, fired late meanwhile, `latest` those of any vantage.
    """

    check: str
    vantage: str
    vantage_kind: str
    node: str
    way: str
    address: str
    conforming: bool
    outcomes: dict[str, int]
    latencies: tuple[float, ...]
    converged: float
    change: str = ""
    attempts: int = 0
    probe: str = ""
    answered: tuple[Answered, ...] = ()
    late: float = 0.0
    latest: float = 0.0


@dataclass(frozen=True)
class Note(Event):
    """What a check found out and wants read, whatever its verdict, in one line: a distribution, an address seen."""

    check: str
    text: str


@dataclass(frozen=True)
class Changed(Event):
    """The engine changed the cluster: ``create``, ``patch`` or ``delete`` of ``Service kubereach-x/nodeport``."""

    action: str
    object: str


@dataclass(frozen=True)
class CheckFinished(Event):
    """A check has its verdict: ``pass``, ``fail``, ``unsupported``, ``error``, or ``noted`` (by an info check)."""

    id: str
    case: str
    verdict: str
    seconds: float
    message: str = ""
    failures: tuple[Failure, ...] = ()
    #: of a failure that is put down to Kubernetes itself
    defect: KnownDefect | None = None
    #: probes and facts that were judged, and how many it took at least to pass
    judged: int = 0
    minimum: int = 1


@dataclass(frozen=True)
class RunFinished(Event):
    """The run is over. `verdict`: ``conformant``, ``partial``, ``not conformant`` or ``not measured``."""

    verdict: str
    exit_code: int
    seconds: float


#: where a thread's events go instead, until somebody lets them out
_held: ContextVar[list[Event] | None] = ContextVar("held", default=None)


@dataclass(eq=False)
class _Consumer:
    take: Callable[[Event], None]
    essential: bool
    #: the first that it raised
    error: Exception | None = None


class Bus:
    """Hands every event to every consumer, one at a time, in the emitting thread.

    A consumer that raises costs only itself: it gets no further event, and `broken` has its error. One that is
    `essential` goes on to get them, since what it makes of the others is still worth having.
    """

    def __init__(self) -> None:
        self._consumers: list[_Consumer] = []
        self._lock = threading.RLock()

    def subscribe(self, consumer: Callable[[Event], None], essential: bool = False) -> None:
        self._consumers.append(_Consumer(consumer, essential))

    @property
    def broken(self) -> list[tuple[Callable[[Event], None], Exception]]:
        """The consumers that raised something, each with its first error."""
        return [(one.take, one.error) for one in self._consumers if one.error is not None]

    def emit(self, event: Event) -> None:
        held = _held.get()
        if held is not None:
            held.append(event)
            return
        with self._lock:
            for consumer in self._consumers:
                if consumer.error is None or consumer.essential:
                    try:
                        consumer.take(event)
                    except Exception as error:
                        consumer.error = consumer.error or error

    @contextmanager
    def held_back(self, events: list[Event]) -> Iterator[None]:
        """What this thread emits within the block is added to `events`, for somebody else to emit."""
        token = _held.set(events)
        try:
            yield
        finally:
            _held.reset(token)
