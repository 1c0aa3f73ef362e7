"""``kubereach selftest``: are the suites worth what they promise?"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from kubereach.model.check import CORE, Check
from kubereach.model.errors import CannotMeasure, UsageError
from kubereach.model.plural import plural
from kubereach.run.catalogue import read_checks, suites_folder
from kubereach.selftest.document import document
from kubereach.selftest.ended import Ended
from kubereach.selftest.inverse import inverse, unknown
from kubereach.selftest.judging import Judgement, judge, judge_together, lacking
from kubereach.selftest.pool import Pool
from kubereach.selftest.random_trials import numbers, run_random
from kubereach.selftest.table import TABLE
from kubereach.selftest.tables import Screen
from kubereach.selftest.trial import Trial, apart, often, trials
from kubereach_lab import Lab, LabConfig, LabError
from kubereach_lab.faults import FAULTS, check_faults

_DESCRIPTION = (
    "Runs all suites on healthy labs, where every check must pass, and on a lab with each "
    "fault, where exactly the checks\n"
    "in docs/faults.md must fail and the report must name the broken layer.\n"
)
_EPILOG = (
    "Up to six narrow faults share one run, and so do faults that no check catches. A shared "
    "run counts if exactly the checks\n"
    "of its faults fail and the report locates each fault; otherwise the differences are "
    "printed and each fault runs alone.\n"
    "Faults named with --fault always run alone.\n"
    "\n"
    "--times 50 runs an intermittent fault 50 times and counts the runs that detect it. "
    "docs/faults.md has the probabilities\n"
    "of a miss.\n"
    "\n"
    "--random 20 --seed 1 puts faults into running labs from outside that are drawn, not "
    "listed, and judges what the reports\n"
    "say of them; docs/faults.md says how.\n"
    "\n"
    "The exit code is 1 for a fault that is not detected, an unrelated failure, a wrong "
    "layer, a core or ext check that no\n"
    "fault makes fail, and a failure on a healthy lab. It is 3 where no lab can start.\n"
)
#: what the page is called, from the working folder
PAGE = Path("docs/faults.md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Teach the parser of ``kubereach selftest`` its options."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[,NAME]",
        help="only these faults (default: all of `kubereach lab faults`)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=4 * (os.cpu_count() or 1),
        metavar="N",
        help="maximum number of concurrent runs (default: %(default)s; fewer while the processors are busy)",
    )
    parser.add_argument(
        "--thorough",
        action="store_true",
        help="run each fault alone, and use series of full length for all faults, not only for "
        "intermittent ones",
    )
    parser.add_argument(
        "--times",
        type=int,
        default=0,
        metavar="N",
        help="run each intermittent fault, or each --fault, N times with only the checks that must catch it",
    )
    parser.add_argument(
        "--quick", action="store_true", help="run each fault with the quick checks only (core and not slow)"
    )
    parser.add_argument(
        "--report-dir", metavar="DIR", help="folder for the report.json and the output of each run"
    )
    parser.add_argument(
        "--random",
        type=int,
        default=0,
        metavar="N",
        help="instead: N faults drawn from --seed, each put into a running lab from outside",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="S", help="of --random: the seed (default: %(default)s)"
    )
    parser.add_argument(
        "--only",
        type=int,
        action="append",
        default=[],
        metavar="NUMBER",
        help="of --random: only the seed's fault with this number (repeatable)",
    )
    parser.add_argument(
        "--check",
        action="append",
        default=[],
        metavar="PATTERN",
        help="of --random: run only these checks (repeatable; default: all)",
    )
    parser.add_argument("--write", action="store_true", help=f"write {PAGE} from the table and exit")


def main(args: argparse.Namespace, run_command: Callable[[list[str]], int]) -> int:
    """Run ``kubereach selftest``; returns 0, or 1 for what is wrong.

    `run_command` is the command line: what runs one list of arguments and gives its exit code.
    Raises `UsageError`, and `CannotMeasure` where no lab can start.
    """
    faults = tuple(name for given in args.fault for name in given.split(",") if name)
    try:
        check_faults(faults)
    except ValueError as error:
        raise UsageError(f"--fault: {error}") from None
    if args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs}: not a valid number of runs", "Give 1 or more.")
    if args.times < 0:
        raise UsageError(f"--times {args.times}: not a valid number of runs", "Give 1 or more.")
    if args.times and (args.quick or args.thorough):
        raise UsageError("--times excludes --quick and --thorough", "Give one of them.")
    if args.random < 0 or any(number < 1 for number in args.only):
        raise UsageError("--random and --only take numbers from 1 on")
    drawn = numbers(args.random, args.only)
    if drawn and (faults or args.times or args.quick or args.thorough or args.write):
        raise UsageError("--random excludes options of other faults", "Give one of them.")
    if args.check and not drawn:
        raise UsageError("--check is for --random")
    checks = read_checks(suites_folder())
    if args.write:
        return _write(checks)
    _require_lab()
    with ExitStack() as stack:
        if args.report_dir:
            folder = Path(args.report_dir).expanduser()
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubereach-selftest-")))
        if drawn:
            return run_random(args.seed, drawn, args.jobs, folder, run_command, tuple(args.check))
        judgements = _run(args, faults, checks, folder, run_command)
        if args.report_dir:
            _keep(judgements, folder / "selftest.json")
    return 1 if any(one.problems for one in judgements) or static_problems(checks) else 0


def _require_lab() -> None:
    """Start the smallest lab and end it. Where that fails every run would, and nothing is told of any fault by that."""
    try:
        with Lab(LabConfig(nodes=1)):
            pass
    except LabError as error:
        raise CannotMeasure(error.message, error.remedy) from error


def static_problems(checks: Sequence[Check]) -> list[str]:
    """What is wrong with the table itself, whatever the runs say."""
    found = [f"{one.check.id}: no fault makes it fail" for one in inverse(TABLE, checks) if one.idle]
    found += [f"{check}: in the table, but not a check" for check in sorted(unknown(TABLE, checks))]
    found += [f"{name}: a fault without a row in the table" for name in sorted(FAULTS.keys() - TABLE.keys())]
    found += [f"{name}: in the table, but not a fault" for name in sorted(TABLE.keys() - FAULTS.keys())]
    return found


def _run(
    args: argparse.Namespace,
    faults: Sequence[str],
    checks: Sequence[Check],
    folder: Path,
    run_command: Callable[[list[str]], int],
) -> list[Judgement]:
    planned = often(faults, args.times) or trials(faults, quick=args.quick, thorough=args.thorough)
    quick_ids = {check.id for check in checks if check.level == CORE and not check.slow}
    screen, judgements = Screen(len(planned)), []
    pool: Pool[Trial] = Pool(args.jobs, folder, run_command)
    runs = shared_wrong = 0
    for ended in pool.run(planned, lambda: screen.tick(pool.running)):
        runs += 1
        names = ended.trial.faults
        if len(names) > 1:
            judged, problems = judge_together(ended)
            if problems:
                shared_wrong += 1
                planned += apart(ended.trial)
            screen.shared(names, ended.seconds, problems)
            judgements += judged
        else:
            judged = [judge(ended, quick_ids), *_without(planned, ended)]
            for one in judged:
                screen.ended(one)
            judgements += judged
    if args.times:
        screen.often(judgements)
    else:
        screen.faults(judgements)
    if not (faults or args.times):
        screen.checks(inverse(TABLE, checks))
    for problem in static_problems(checks):
        screen.say(problem)
    bad = sum(bool(one.problems) for one in judgements) + len(static_problems(checks))
    seconds = sum(one.cpu for one in judgements)
    verdict = f"{bad} not as expected" if bad else "all as expected"
    if shared_wrong:
        verdict += f", {plural(shared_wrong, 'shared run')} repeated, see above"
    screen.say(f"\n{len(judgements)} labs in {runs} runs, {seconds:.0f} s of CPU time: {verdict}")
    return judgements


def _without(planned: list[Trial], ended: Ended[Trial]) -> list[Judgement]:
    """Those of `planned` that cannot be measured on this machine, as a healthy lab has told: they need no run."""
    if not ended.trial.healthy:
        return []
    hopeless = [trial for trial in planned if lacking(trial.row, ended.report)]
    for trial in hopeless:
        planned.remove(trial)
    return [judge(Ended(trial, 0, 0.0, 0.0, "", ended.report)) for trial in hopeless]


def _keep(judgements: Sequence[Judgement], file: Path) -> None:
    found = [asdict(one) | {"caught_by": sorted(one.caught_by)} for one in judgements]
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _write(checks: Sequence[Check]) -> int:
    if not PAGE.parent.is_dir():
        raise UsageError(
            f"the working folder has no folder {PAGE.parent}", "Run it in kubereach's repository."
        )
    PAGE.write_text(document(FAULTS, TABLE, checks), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
    return 0
