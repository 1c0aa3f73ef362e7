"""How many mutants of what decides verdicts do the tests kill? ``python tests/mutation [MODULE ...] [--sample N]``.

Only tests that need no process, socket or wall clock have a say: a mutant that one of them kills is killed for its own
sake, and not for that of a busy machine. They are collected once. For each mutant a fork of this process takes the
mutant in and runs them until the first one fails.

Survivors are explained in docs/verdicts-mutants.md, a line each. Exit code 1: fewer than 95 % are killed, or a survivor
is not explained, or one that is explained is killed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from functools import partial

import pytest
from explained import explained
from modules import MODULES, REPOSITORY, all_mutants, held_by, source_of
from mutations import Mutant
from swapped import swap

#: seconds of a processor, and of the clock, after which a mutant that has not ended counts as killed
PROCESSOR, CLOCK = 6, 120
LEAST = 0.95
#: exit code of a fork that could not take the mutant in
_NOT_MADE = 3

say = partial(print, flush=True)
SEED = 1


class Judge:
    """A pytest plugin: in place of running the collected tests once, runs them for each mutant."""

    def __init__(self, mutants: list[Mutant], verbose: bool) -> None:
        self.mutants, self.verbose = mutants, verbose
        self.survivors: list[Mutant] = []
        self.failed = False
        #: mutants that were ended by one of the limits
        self.endless = 0
        #: mutants of modules that cannot even be imported
        self.not_made: list[Mutant] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if not self._passes(session, session.items, None):
            self.failed = True
            say("the tests fail without a mutant", file=sys.stderr)
            return True
        begun = time.monotonic()
        for number, mutant in enumerate(self.mutants, 1):
            alive = self._passes(session, held_by(session.items, MODULES[mutant.module]), mutant)
            if alive:
                self.survivors.append(mutant)
            if alive or self.verbose:
                say(f"{'survived' if alive else 'killed'}: {mutant.key} (line {mutant.line})")
            if number % 100 == 0:
                say(f"{number} of {len(self.mutants)}, {time.monotonic() - begun:.0f} s")
        return True

    def _passes(self, session: pytest.Session, items: list[pytest.Item], mutant: Mutant | None) -> bool:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            if mutant is not None:
                silence = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silence, 1)
                os.dup2(silence, 2)
            try:
                if mutant is not None:
                    swap(importlib.import_module(mutant.module), mutant, source_of(mutant.module))
            except BaseException:
                os._exit(_NOT_MADE)
            try:
                _run(session, items)
            except BaseException:
                os._exit(1)
            os._exit(0 if session.testsfailed == 0 else 1)
        deadline = time.monotonic() + CLOCK
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                self.endless += os.WIFSIGNALED(status)
                if mutant is not None and status == _NOT_MADE << 8:
                    self.not_made.append(mutant)
                return status == 0
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                self.endless += 1
                return False
            time.sleep(0.005)


def _run(session: pytest.Session, items: list[pytest.Item]) -> None:
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="as kubereach.expect.hold; all of them without one")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn with a fixed seed")
    parser.add_argument("-v", "--verbose", action="store_true", help="name what is killed, too")
    options = parser.parse_args()
    mutants = [m for m in all_mutants() if not options.modules or m.module in options.modules]
    if options.sample and options.sample < len(mutants):
        keep = set(random.Random(SEED).sample(range(len(mutants)), options.sample))
        mutants = [mutant for number, mutant in enumerate(mutants) if number in keep]
    files = sorted({name for mutant in mutants for name in MODULES[mutant.module]})
    judge = Judge(mutants, options.verbose)
    where = [str(REPOSITORY / "tests" / name) for name in files]
    code = pytest.main(["-q", "-s", "--no-header", "-p", "no:cacheprovider", *where], [judge])
    if judge.failed or code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return 2
    for mutant in judge.not_made:
        say(f"not made: {mutant.key} (line {mutant.line})")
    say(f"killed for having no end: {judge.endless}; for not being importable: {len(judge.not_made)}")
    return report(mutants, judge.survivors)


def report(mutants: list[Mutant], survivors: list[Mutant]) -> int:
    reasons = explained()
    total, alive = Counter(m.module for m in mutants), Counter(m.module for m in survivors)
    for module in total:
        say(f"{module}: {total[module] - alive[module]} of {total[module]} killed")
    unexplained = [mutant.key for mutant in survivors if mutant.key not in reasons]
    killed = {m.key for m in mutants} - {m.key for m in survivors}
    share = 1 - len(survivors) / len(mutants)
    say(f"in all: {len(mutants) - len(survivors)} of {len(mutants)} killed, {share:.1%}")
    for key in unexplained:
        say(f"not explained: {key}")
    for key in sorted(killed & set(reasons)):
        say(f"explained, and yet killed: {key}")
    return 1 if unexplained or killed & set(reasons) or share < LEAST else 0


if __name__ == "__main__":
    sys.exit(main())
