"""Many runs of an intermittent fault."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kubereach.cli.main import main
from kubereach.selftest.judging import Judgement
from kubereach.selftest.table import TABLE
from kubereach.selftest.tables import Screen
from kubereach.selftest.trial import often

DROPS, LOSS = "dns.drops-5-percent", "net.loss-5-percent"


def test_each_intermittent_fault_has_its_runs() -> None:
    planned = often((), 3)
    assert Counter(trial.fault for trial in planned) == {
        name: 3 for name, row in TABLE.items() if row.overlooked
    }
    assert {DROPS, LOSS} <= {trial.fault for trial in planned}
    assert len({trial.name for trial in planned}) == len(planned)


def test_a_run_is_of_the_checks_that_must_catch_the_fault() -> None:
    (trial,) = often([DROPS], 1)
    words = trial.arguments(Path("there"))
    assert words[-len(trial.checks) :] == sorted(TABLE[DROPS].caught_by)
    assert trial.row.verdicts == dict.fromkeys(TABLE[DROPS].fail, "fail")
    # none of them is a matter of luck
    assert not any(trial.row.is_open(check) for check in trial.checks)


def test_what_no_check_must_catch_is_run_whole() -> None:
    (trial,) = often(["api.busy"], 1)
    assert (trial.checks, trial.row) == ((), TABLE["api.busy"])


def test_runs_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    good = Judgement(DROPS, True, True, True, 1.0, 1.0)
    elsewhere = Judgement(DROPS, True, True, False, 1.0, 1.0, problems=("located in api",))
    missed = Judgement(LOSS, False, False, None, 1.0, 1.0, problems=("not caught by nodes.no-snat",))
    Screen(4).often([good, elsewhere, missed, good])
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["fault", "runs", "detected", "attributed", "located"],
        [DROPS, "3", "3", "3", "2"],
        [LOSS, "1", "0", "0", "0"],
    ]


@pytest.mark.parametrize("words", [["--times=-1"], ["--times=2", "--quick"], ["--times=2", "--thorough"]])
def test_what_cannot_be_asked_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", *words]) == 2
    assert "--times" in capsys.readouterr().err
