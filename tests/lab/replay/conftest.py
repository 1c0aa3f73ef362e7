"""A lab for the replays alone, the scenarios played side by side in it, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from lab_access import IMAGES, LabAccess

from kubereach_lab import Lab, LabConfig

from . import agreement
from .compare import Pairs
from .player import Outcome, play
from .scenario import Scenario

_SIDE_BY_SIDE = 4
_outcomes = pytest.StashKey[list[Outcome]]()


class Plays:
    """Scenarios being played, each once."""

    def __init__(self, lab: LabAccess, pool: ThreadPoolExecutor) -> None:
        self.lab = lab
        self.pool = pool
        self.started: dict[str, Future[tuple[Outcome, Pairs]]] = {}

    def start(self, scenario: Scenario) -> Future[tuple[Outcome, Pairs]]:
        if scenario.name not in self.started:
            before = self.start(scenario.follows) if scenario.follows else None
            self.started[scenario.name] = self.pool.submit(self._play, scenario, before)
        return self.started[scenario.name]

    def _play(
        self, scenario: Scenario, before: Future[tuple[Outcome, Pairs]] | None
    ) -> tuple[Outcome, Pairs]:
        pairs = before.result()[1] if before else Pairs()
        return play(self.lab, scenario, pairs), pairs


@pytest.fixture(scope="session")
def plays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plays]:
    """Starts every scenario that this run of pytest asks for."""
    # the recorded cluster's nodes are in no zone
    with (
        Lab(LabConfig(nodes=3, images=IMAGES, zones=())) as started,
        ThreadPoolExecutor(_SIDE_BY_SIDE) as pool,
    ):
        access = LabAccess(started, tmp_path_factory.mktemp("replay"))
        running = Plays(access, pool)
        for item in request.session.items:
            callspec = getattr(item, "callspec", None)
            scenario = callspec.params.get("scenario") if callspec else None
            if isinstance(scenario, Scenario):
                running.start(scenario)
        yield running
        logged = access.log()
        access.close()
    assert not logged, f"the lab logged:\n{logged}"


@pytest.fixture
def replayed(plays: Plays, request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Fails if a scenario differs from its recording, or from what docs/lab.md says of it."""

    def check(scenario: Scenario) -> None:
        outcome = plays.start(scenario).result()[0]
        request.config.stash.setdefault(_outcomes, []).append(outcome)
        complaints = outcome.complaints()
        if complaints:
            head = f"{scenario.name}: {len(complaints)} of {outcome.steps} steps"
            pytest.fail("\n  ".join([head, *complaints]), pytrace=False)
        if not agreement.WRITING:
            line = agreement.row(outcome)
            assert line in agreement.rows(), (
                f"docs/lab.md has not the line\n{line}\nAGREEMENT=write renews it"
            )

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = config.stash.get(_outcomes, [])
    if not outcomes:
        return
    terminalreporter.section("agreement with a real Kubernetes")
    for outcome in outcomes:
        share = 100 * outcome.agreeing / outcome.steps
        text = f"{outcome.name:24} {outcome.agreeing:4} of {outcome.steps:4} steps  {share:5.1f} %"
        text += f"  ({len(outcome.excepted)} left out on purpose)" if outcome.excepted else ""
        text += f"  ({len(outcome.races)} races)" if outcome.races else ""
        terminalreporter.line(text)
    if agreement.WRITING:
        agreement.write(outcomes)
