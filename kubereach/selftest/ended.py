"""What a pool runs, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar


class Job(Protocol):
    """Something that a pool runs."""

    @property
    def name(self) -> str:
        """How the job and its folder are called."""

    def run(self, folder: Path, run_command: Callable[[list[str]], int]) -> int:
        """Be ``kubereach run`` in a process of its own, with its report in `folder`; gives its exit code."""


J = TypeVar("J", bound=Job)


@dataclass
class Ended(Generic[J]):
    """How a run ended: `code` is its exit code, `cpu` and `seconds` are seconds."""

    trial: J
    code: int
    seconds: float
    cpu: float
    output: str
    report: dict[str, Any] = field(default_factory=dict)
