"""What can go wrong, by what it means for the verdict: the four classes that decide exit codes.

A failure to conform is never confused with a failure to measure: `NotConforming` is the cluster's,
`CannotMeasure` is ours or the environment's, `UsageError` is the user's, `Unsupported` is nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kubereach.model.finding import Finding


class KubereachError(Exception):
    """Base of the errors whose text is meant for the user: one clear line, then the remedy."""

    #: exit code of a run that ends with this error
    exit_code = 3

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}\n  {remedy}" if remedy else message)


class UsageError(KubereachError):
    """Wrong usage or configuration: no such context, unknown check id, malformed manifest."""

    exit_code = 2


class CannotMeasure(KubereachError):
    """The measurement itself failed: no API, exec forbidden, image not pulled. Never a pass, never a fail."""

    exit_code = 3


class InstrumentBroke(CannotMeasure):
    """What measures broke under way: of what was being measured nothing is known, and nothing is wrong with it."""


class Unreachable(CannotMeasure):
    """The API server, or what is in front of it, did not answer: the next attempt may well succeed."""


class Unsupported(KubereachError):
    """What a check needs is absent; `message` is the evidence.

    `feature` is the feature that was found to be absent by that, for every check that needs it. Without one the absence
    is this check's alone: nothing is concluded from it for others.
    """

    exit_code = 0

    def __init__(self, message: str, remedy: str = "", feature: str = "") -> None:
        super().__init__(message, remedy)
        self.feature = feature


@dataclass(frozen=True)
class Failure:
    """Why a check failed, in the five words that a reader needs."""

    #: the vantage that the probe started from, for example ``pod@worker2``
    vantage: str
    #: what was probed, for example ``nodeport http://172.18.0.3:30080``
    address: str
    #: the conforming outcome, in words
    expected: str
    #: what was seen, in words, with counts
    got: str
    #: further lines: outcomes by kind, answers of a wrong backend, timing
    evidence: tuple[str, ...] = field(default_factory=tuple)
    #: what was missed, in the words of `kubereach.model.misses`
    miss: str = ""
    #: the layer that is at fault by what the failure is about, where no path was probed
    layer: str = ""
    #: what came of walking the path, layer by layer
    finding: Finding | None = None


class NotConforming(AssertionError):
    """The cluster does not conform. Carries one `Failure` for each vantage and address that missed."""

    def __init__(self, failures: list[Failure]) -> None:
        self.failures = failures
        super().__init__(
            "\n".join(f"{f.vantage} -> {f.address}: expected {f.expected}, got {f.got}" for f in failures)
        )
