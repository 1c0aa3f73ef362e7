"""The record of a run, built from its events alone. Every rendering reads this and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kubereach.diagnosis.causes import Cause, causes
from kubereach.model.check import Check
from kubereach.model.errors import Failure
from kubereach.model.events import (
    Changed,
    CheckFinished,
    CheckStarted,
    ClusterKnown,
    Event,
    Note,
    Probed,
    RunFinished,
    RunStarted,
    WorldReady,
)
from kubereach.model.known_defects import KnownDefect
from kubereach.model.outcome import OK, Answered
from kubereach.model.percentile import percentile
from kubereach.model.verdicts import FAIL, NOTED
from kubereach.report.outliers import outliers
from kubereach.report.outliers.outlier import Outlier


@dataclass(frozen=True)
class Path:
    """One series of probes: from a vantage, over a way of reaching, to an address. Times are seconds."""

    vantage: str
    kind: str
    node: str
    way: str
    address: str
    conforming: bool
    outcomes: dict[str, int]
    latencies: tuple[float, ...]
    converged: float
    change: str = ""
    #: at which of several it was as expected
    attempts: int = 0
    #: what was asked: ``http``, ``udp of 1200 bytes``
    probe: str = ""
    answered: tuple[Answered, ...] = ()
    #: seconds by which timers fired late meanwhile: the vantage's own or its backends', and those of any vantage
    late: float = 0.0
    latest: float = 0.0

    @property
    def duplicates(self) -> int:
        """Probes that were met twice."""
        return sum(one.duplicates for one in self.answered)

    @property
    def probes(self) -> int:
        return sum(self.outcomes.values())

    @property
    def reached(self) -> bool:
        """Whether every probe got an answer: their latencies are round trips, not waits for a refusal."""
        return bool(self.outcomes) and all(word == OK for word, count in self.outcomes.items() if count)

    def percentile(self, share: float) -> float | None:
        return percentile(self.latencies, share)


@dataclass
class CheckRecord:
    """One check's run; parametrised checks have one record for each `case`."""

    id: str
    case: str
    check: Check | None
    verdict: str = ""
    seconds: float = 0.0
    message: str = ""
    failures: tuple[Failure, ...] = ()
    paths: list[Path] = field(default_factory=list)
    #: what it found out and wants read, whatever its verdict
    notes: list[str] = field(default_factory=list)
    #: of a failure that is put down to Kubernetes itself
    defect: KnownDefect | None = None
    #: probes and facts that were judged, and how many it took at least to pass
    judged: int = 0
    minimum: int = 1


@dataclass
class Record:
    """Consumes events and adds them up. `checks` are the declarations of the selected checks, by id."""

    checks: dict[str, Check]
    target: str = ""
    cluster: dict[str, object] = field(default_factory=dict)
    #: seconds since the epoch at the first event
    started: float = 0.0
    #: seconds until all pods were ready and the vantages open; 0 when that never happened
    world_seconds: float = 0.0
    pods: int = 0
    vantages: tuple[str, ...] = ()
    results: list[CheckRecord] = field(default_factory=list)
    #: what concerns the run and not a single check
    notes: list[str] = field(default_factory=list)
    changes: int = 0
    verdict: str = ""
    exit_code: int = 0
    seconds: float = 0.0

    def __call__(self, event: Event) -> None:
        self.started = self.started or event.at
        match event:
            case Probed():
                self._probed(event)
            case Note(check=""):
                self.notes.append(event.text)
            case Note():
                for result in reversed(self.results):
                    if result.id == event.check:
                        result.notes.append(event.text)
                        break
            case CheckStarted():
                self.results.append(CheckRecord(event.id, event.case, self.checks.get(event.id)))
            case CheckFinished():
                result = self._result(event.id, event.case)
                result.verdict, result.seconds = event.verdict, event.seconds
                result.message, result.failures = event.message, event.failures
                result.defect = event.defect
                result.judged, result.minimum = event.judged, event.minimum
            case ClusterKnown():
                self.cluster = event.cluster
            case RunStarted():
                self.target, self.cluster = event.target, event.cluster
            case WorldReady():
                self.world_seconds, self.pods, self.vantages = event.seconds, event.pods, event.vantages
            case Changed():
                self.changes += 1
            case RunFinished():
                self.verdict, self.exit_code, self.seconds = event.verdict, event.exit_code, event.seconds

    def _result(self, id: str, case: str) -> CheckRecord:
        for result in reversed(self.results):
            if (result.id, result.case) == (id, case):
                return result
        self.results.append(CheckRecord(id, case, self.checks.get(id)))
        return self.results[-1]

    def _probed(self, e: Probed) -> None:
        # checks run one after the other, so a probe belongs to the latest one of its id; one without a check,
        # such as the world's own control, is nobody's result
        for result in reversed(self.results):
            if result.id == e.check:
                outcomes = dict(e.outcomes)
                result.paths.append(
                    Path(
                        e.vantage,
                        e.vantage_kind,
                        e.node,
                        e.way,
                        e.address,
                        e.conforming,
                        outcomes,
                        e.latencies,
                        e.converged,
                        e.change,
                        e.attempts,
                        e.probe,
                        e.answered,
                        e.late,
                        e.latest,
                    )
                )
                return

    def convergence(self) -> dict[str, list[float]]:
        """Seconds from a change until a vantage saw it obeyed, by change; DNS follows for itself."""
        found: dict[str, list[float]] = {}
        for result in self.results:
            for path in result.paths:
                if path.change and path.conforming and path.converged >= 0:
                    what = f"{path.change}, in DNS" if path.way == "dns" else path.change
                    found.setdefault(what, []).append(path.converged)
        return dict(sorted(found.items()))

    def outliers(self) -> list[Outlier]:
        """What stands out though it conforms."""
        return outliers([result.paths for result in self.results])

    def causes(self) -> list[Cause]:
        """What is broken, and which checks fail of it; defects of Kubernetes itself are left out."""
        found = self.with_verdict(FAIL) or self.with_verdict(NOTED)
        return causes(
            (result.id, result.message, result.failures) for result in found if result.defect is None
        )

    def count(self, verdict: str) -> int:
        return sum(result.verdict == verdict for result in self.results)

    def with_verdict(self, *verdicts: str) -> list[CheckRecord]:
        return [result for result in self.results if result.verdict in verdicts]


def pooled(paths: Iterable[Path]) -> tuple[float, ...]:
    """The latencies of all paths on which every probe was answered."""
    return tuple(latency for path in paths if path.reached for latency in path.latencies)
