"""One run of all the suites on a lab with one fault, or with none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kubereach.selftest.groups import groups, together
from kubereach.selftest.row import Row
from kubereach.selftest.table import HEALTHY, TABLE
from kubereach_lab.faults import FAULTS

#: Something that will not come is waited for in nearly every run here; on a lab, changes take milliseconds. A fault
#: must not make other checks impatient either, so vantages that are troubled have longer than in other runs.
DEADLINES = ("load_balancer_deadline=3", "converge_deadline=8", "troubled_deadline=4")
#: A fault that is always there is caught by a series of any length, in which 14 probes in place of 135 hold. That every
#: endpoint is seen takes nearly as many probes as ever, or luck would make healthy checks fail: with some 150 such
#: series in a run, one selftest in some 500 has a false alarm by it.
_SHORT = ("loss_miss=0.5", "endpoint_miss=1e-7", "signal_requests=50")
#: nodes of a lab whose fault is everywhere: two suffice for all that pods of one node and of another can see. Where the
#: fault is in one place, the report must find it among more.
_NODES = 2


@dataclass(frozen=True)
class Trial:
    """What is run: `fault` is a fault's name, several with commas between them, or that of a healthy lab."""

    fault: str
    row: Row
    quick: bool = False
    #: full lengths of series, whatever the fault
    thorough: bool = False
    #: which run of the fault it is, where there are several
    number: int = 0
    #: what is run; all if none is named
    checks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.fault}#{self.number}" if self.number else self.fault

    @property
    def healthy(self) -> bool:
        return self.fault in HEALTHY

    @property
    def faults(self) -> tuple[str, ...]:
        """The names of the lab's faults."""
        return () if self.healthy else tuple(self.fault.split(","))

    def arguments(self, report: Path) -> list[str]:
        """The command line of the run, after ``kubereach``."""
        full = self.thorough or self.row.full_length or self.healthy
        small = not (full or any(FAULTS[name].nodes for name in self.faults))
        settings = DEADLINES if full else DEADLINES + _SHORT
        return [
            "run",
            *([] if self.healthy else [f"--fault={self.fault}"]),
            *([f"--nodes={_NODES}"] if small else []),
            *(["--quick"] if self.quick else []),
            *(f"--set={setting}" for setting in settings),
            *self.row.options,
            f"--report-dir={report}",
            *self.checks,
        ]

    def run(self, folder: Path, run_command: Callable[[list[str]], int]) -> int:
        """Be the run; gives its exit code."""
        return run_command(self.arguments(folder))


def trials(faults: Sequence[str] = (), *, quick: bool = False, thorough: bool = False) -> list[Trial]:
    """The healthy labs and those with the faults asked for, the longest runs first.

    Without `faults` it is all of them, narrow ones together unless `thorough`.
    """
    healthy = [Trial(name, Row(options=options), quick, thorough) for name, options in HEALTHY.items()]
    shared = not (faults or quick or thorough)
    chosen = groups(TABLE) if shared else [(name,) for name in faults or TABLE]
    planned = [
        Trial(",".join(names), together(TABLE[name] for name in names), quick, thorough) for names in chosen
    ]
    return healthy + sorted(planned, key=_expected_work, reverse=True)


def often(faults: Sequence[str], times: int) -> list[Trial]:
    """So many runs of each of these faults, or of each intermittent one, by the checks alone that must catch it.

    A fault that no check has to catch is run with all of them.
    """
    planned = []
    for name in faults or [name for name, row in TABLE.items() if row.overlooked]:
        row = TABLE[name]
        if row.caught_by:
            row = replace(row, error=frozenset(), unsupported=frozenset(), perhaps=())
        checks = tuple(sorted(row.caught_by))
        planned += [Trial(name, row, number=number, checks=checks) for number in range(1, times + 1)]
    return planned


def apart(trial: Trial) -> list[Trial]:
    """A run for each of its faults."""
    return [replace(trial, fault=name, row=TABLE[name]) for name in trial.faults]


def _expected_work(trial: Trial) -> int:
    """What fails waits for what does not come: the more of it, the longer a run takes."""
    row = trial.row
    return len(row.verdicts) + 50 * bool(row.perhaps) + 100 * row.full_length + 30 * bool(row.options)
