"""``kubereach selftest --random N``: what a report says of faults that nobody has foreseen."""

from __future__ import annotations

import json
import os
import signal
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kubereach.model.plural import plural
from kubereach.selftest import injection
from kubereach.selftest.convicted import contradictions
from kubereach.selftest.ended import Ended
from kubereach.selftest.pool import Pool
from kubereach.selftest.random_fault import MILD, NODES, RandomFault, draw
from kubereach.selftest.right_answer import Judged, judge, right_answer
from kubereach.selftest.tables import Screen
from kubereach.selftest.trial import DEADLINES
from kubereach_lab import Lab, LabConfig

#: what is aimed at: shares of the faults that are detected, and located
DETECTED, LOCATED = 0.95, 0.9
#: seconds after which a run is given up: with full lengths, and where everything is late, it takes its time
_LONGEST = 900.0


@dataclass(frozen=True)
class RandomTrial:
    """A run of all checks on a lab that gets one fault; `checks` are patterns of those to run instead of all."""

    fault: RandomFault
    checks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"random-{self.fault.seed}-{self.fault.number}"

    def run(self, folder: Path, run_command: Callable[[list[str]], int]) -> int:
        """Be the run, in a process of its own that enters the lab; gives its exit code."""
        (folder / injection.FILE).unlink(missing_ok=True)
        with Lab(LabConfig(nodes=NODES)) as lab:
            pid = injection.begin(lab, self.fault, folder)
            try:
                lab.enter()
                return run_command(self._arguments(lab.kubeconfig, folder))
            finally:
                os.kill(pid, signal.SIGKILL)  # it shares what keeps the lab alive
                os.waitpid(pid, 0)

    def _arguments(self, kubeconfig: Path, folder: Path) -> list[str]:
        settings = (f"--set={setting}" for setting in DEADLINES)
        return ["run", f"--kubeconfig={kubeconfig}", *settings, f"--report-dir={folder}", *self.checks]


@dataclass(frozen=True)
class Outcome:
    """What came of one fault. `unmeasured` says why nothing can be told of it; there is no `judged` then."""

    fault: RandomFault
    seconds: float
    judged: Judged | None = None
    right: str = ""
    #: causes that the report's own paths contradict
    contradicted: tuple[str, ...] = ()
    unmeasured: str = ""

    @property
    def false(self) -> tuple[str, ...]:
        return self.judged.false if self.judged else ()


def numbers(count: int, only: Sequence[int]) -> list[int]:
    """The numbers of the faults of a seed: from 1, or just those asked for."""
    return list(only) or list(range(1, count + 1))


def run_random(
    seed: int,
    chosen: Sequence[int],
    jobs: int,
    folder: Path,
    run_command: Callable[[list[str]], int],
    checks: tuple[str, ...] = (),
) -> int:
    """Run and judge them; returns 0, 1 where the aims are missed, or 3 where some could not be measured."""
    planned = [RandomTrial(draw(seed, number), checks) for number in chosen]
    screen: Screen = Screen(len(planned))
    pool: Pool[RandomTrial] = Pool(jobs, folder, run_command, _LONGEST)
    screen.say(f"seed {seed}: {plural(len(planned), 'fault')}; one again: --seed {seed} --only NUMBER")
    outcomes = []
    for ended in pool.run(planned, lambda: screen.tick(pool.running)):
        outcome = judged(ended, folder / ended.trial.name)
        outcomes.append(outcome)
        screen.say(line(outcome))
    outcomes.sort(key=lambda one: one.fault.number)
    text = json.dumps([_kept(one) for one in outcomes], indent=1) + "\n"
    (folder / "random.json").write_text(text, encoding="utf-8")
    screen.say(summary(outcomes))
    return exit_code(outcomes)


def judged(ended: Ended[RandomTrial], folder: Path) -> Outcome:
    """Of a run that has ended, whose files are in `folder`."""
    fault, report = ended.trial.fault, ended.report
    file = folder / injection.FILE
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if not told.get("applied"):
        why = told.get("error") or "the run ended before the fault was there"
        return Outcome(fault, ended.seconds, unmeasured=why)
    if not report:
        last = (ended.output.strip().splitlines() or ["nothing"])[-1]
        why = f"no report, exit code {ended.code}; last line: {last}"
        return Outcome(fault, ended.seconds, unmeasured=why)
    answer = right_answer(fault, told["facts"])
    found = judge(report, ended.code, answer, mild=fault.action in MILD)
    return Outcome(fault, ended.seconds, found, answer.in_words, tuple(contradictions(report)))


def line(outcome: Outcome) -> str:
    """One line of a fault; below it what was said, where that is not right."""
    fault, found = outcome.fault, outcome.judged
    if found is None:
        return f"{fault.number:4}  not measured: {outcome.unmeasured}  ({fault.in_words})"
    words = (
        found.detected or "NOT DETECTED",
        "located" if found.located else "not located",
        f"{len(found.false)} false",
    )
    lines = [f"{fault.number:4}  {fault.in_words}: {', '.join(words)}, {outcome.seconds:.0f} s"]
    if not found.located:
        lines += [f"said:  {found.said}", f"right: {outcome.right}"]
    lines += [f"false: {text}" for text in found.false]
    lines += [f"contradicted: {text}" for text in outcome.contradicted]
    return "\n".join([lines[0], *(textwrap.indent(text, " " * 8) for text in lines[1:])])


def summary(outcomes: Sequence[Outcome]) -> str:
    """Percentages of those that were measured."""
    measured = [one.judged for one in outcomes if one.judged]
    if not measured:
        return "\nno fault could be measured"
    shares = {
        "detected": sum(bool(one.detected) for one in measured),
        "located": sum(one.located for one in measured),
        "with something false said": sum(bool(one.false) for one in measured),
    }
    words = [f"{count} ({100 * count / len(measured):.0f} %) {what}" for what, count in shares.items()]
    noted = sum(one.detected == "noted" for one in measured)
    statements = sum(len(one.false) for one in measured)
    left = len(outcomes) - len(measured)
    return (
        f"\nof {plural(len(measured), 'fault')}: {', '.join(words)}; {noted} of them noted only; "
        f"{plural(statements, 'false statement')}{f'; {left} not measured' if left else ''}"
    )


def exit_code(outcomes: Sequence[Outcome]) -> int:
    measured = [one.judged for one in outcomes if one.judged]
    detected = sum(bool(one.detected) for one in measured)
    located = sum(one.located for one in measured)
    if detected < DETECTED * len(measured) or located < LOCATED * len(measured):
        return 1
    if any(one.false or one.contradicted for one in outcomes):
        return 1
    return 0 if len(measured) == len(outcomes) else 3


def _kept(outcome: Outcome) -> dict[str, Any]:
    return asdict(outcome) | {"in_words": outcome.fault.in_words}
