"""Until when a path is held again, and how long each time."""

from __future__ import annotations

import pytest
from staged import ADDRESS, Staged

from kubereach.expect import hold
from kubereach.expect.hold import OVERLOADED, held, hold_length, longer, note_flaps, spent
from kubereach.model.events import Note
from kubereach.model.lateness import Lateness
from kubereach.model.outcome import OK, TIMEOUT, Answer, Probe, SeriesResult, in_words
from kubereach.model.settings import Settings
from kubereach.probe.path import Flap, Path

GOOD = SeriesResult((Probe(Answer(OK), 0.01),), 1.0)
BAD = SeriesResult((Probe(Answer(OK), 0.01), Probe(Answer(TIMEOUT), 0.5)), 1.0)
SILENT = SeriesResult((Probe(Answer(TIMEOUT), 0.5),), 1.0)


# --- the arithmetic


def test_no_more_probes_than_it_takes():
    settings = Settings()
    length = hold_length(settings)
    assert (1 - settings.loss) ** length < settings.loss_miss <= (1 - settings.loss) ** (length - 1)
    for miss in (0.5, 0.01):
        length = hold_length(settings, miss=miss)
        assert (1 - settings.loss) ** length < miss <= (1 - settings.loss) ** (length - 1)
    assert hold_length(settings, endpoints=1) == hold_length(settings)


@pytest.mark.parametrize("endpoints", [2, 3, 20])
def test_no_more_probes_than_it_takes_to_see_every_endpoint(endpoints):
    settings = Settings(loss=0.9, endpoint_miss=1e-3)

    def unseen(length):
        return endpoints * (1 - 1 / endpoints) ** length

    length = hold_length(settings, endpoints)
    assert unseen(length) < settings.endpoint_miss <= unseen(length - 1)
    # whichever is longer
    assert hold_length(Settings(loss=0.001), endpoints) == hold_length(Settings(loss=0.001))


def test_what_may_be_overlooked_is_shared_out():
    settings = Settings()
    shares = [spent(settings, again) / settings.loss_miss for again in range(4)]
    assert shares == pytest.approx([0.9, 0.05, 0.025, 0.0125])
    assert sum(spent(settings, again) for again in range(60)) <= settings.loss_miss


def test_a_series_that_is_held_again_is_longer_in_proportion():
    settings = Settings()
    assert longer(settings, 40, 0) == 40
    whole = hold_length(settings)
    for again in (1, 2, 5):
        needed = hold_length(settings, miss=spent(settings, again))
        assert longer(settings, whole, again) == needed > whole
        exact = 40 * needed / whole
        assert exact <= longer(settings, 40, again) < exact + 1


# --- again and again


@pytest.fixture
def holding(context, clock):
    """Holds one path whose series are `results`, the last one for ever; gives the path and what was done."""

    def hold(*results, limit=0.0, tried=0, converges=True, wrong=False):
        path = Path(Staged(context, clock, lambda _: ()), ADDRESS)
        series = iter(results)
        done = []
        last = [None]
        begun = clock.now

        def run(some, again):
            done.append(again)
            assert some == [path]
            last[0] = next(series, last[0])
            clock.now += last[0].seconds
            return [last[0]]

        def converged(some):
            done.append("converge")
            clock.now += 0.5
            return [] if converges else some

        def missed(one):
            return in_words(one.result.outcomes) if set(one.result.outcomes) != {OK} else ""

        late = held([path], run, missed, converged, lambda _: begun + limit, lambda _: wrong, tried)
        return path, late, done

    return hold


def test_a_path_that_is_as_expected_is_held_once(holding):
    path, late, done = holding(GOOD, limit=9)
    assert (late, done, path.flap, path.result) == ([], [0], None, GOOD)


def test_a_path_that_has_settled_fails_by_its_first_miss(holding):
    path, late, done = holding(BAD, GOOD)
    assert (late, done, path.flap, path.result) == ([], [0], None, BAD)


def test_a_path_that_may_still_settle_converges_and_is_held_again(holding, clock):
    begun = clock.now
    path, late, done = holding(BAD, BAD, GOOD, limit=9)
    assert (late, done, path.result) == ([], [0, "converge", 1, "converge", 2], GOOD)
    assert path.flap == Flap("1 answered, 1 timed out", begun, begun + 2.5)


def test_that_goes_on_until_it_should_have_settled(holding):
    path, late, done = holding(BAD, limit=2)
    # one began before the limit and ended after it; the next one counts
    assert (late, done, path.result) == ([], [0, "converge", 1, "converge", 2], BAD)
    # a series that begins at the limit is not before it
    assert holding(BAD, limit=1.5)[2] == [0, "converge", 1]


def test_what_does_not_converge_again_is_late(holding):
    path, late, done = holding(BAD, limit=9, converges=False)
    assert (late, done) == ([path], [0, "converge"])
    assert path.flap is not None


def test_series_that_were_held_before_count(holding):
    assert holding(BAD, GOOD, limit=9, tried=1)[2] == [1, "converge", 2]


def test_an_answer_that_is_wrong_is_given_no_more_times(holding, monkeypatch):
    """Not that of a stranger who answered once, in a series of which a late machine lost some."""
    monkeypatch.setattr(hold, "overloaded", lambda *_: "late")
    path, late, done = holding(BAD, GOOD, wrong=True)
    assert (late, done, path.result) == ([], [0], BAD)
    # while it may still settle it is held again all the same
    assert holding(BAD, GOOD, wrong=True, limit=9)[2] == [0, "converge", 1]


@pytest.mark.parametrize("tried", [0, 1])
def test_an_overloaded_machine_is_given_a_few_more_times(holding, context, monkeypatch, tried):
    context.lateness = Lateness()
    asked = []

    def overloaded(_, miss, since):
        asked.append((miss, since))
        return "late"

    monkeypatch.setattr(hold, "overloaded", overloaded)
    path, _, done = holding(BAD, tried=tried)
    assert [step for step in done if step != "converge"] == list(range(tried, tried + OVERLOADED + 1))
    assert path.result is BAD
    assert {miss for miss, _ in asked} == {"lost"}
    # only what was late meanwhile counts
    assert [since for _, since in asked] == sorted({since for _, since in asked})
    assert OVERLOADED == 3
    assert path.flap.began == asked[0][1]
    _, _, done = holding(BAD, GOOD, tried=tried)
    assert done == [tried, "converge", tried + 1]


def test_each_path_has_its_own_course(context, clock):
    begun = clock.now
    steady, flapping, broken, hopeless = (
        Path(Staged(context, clock, lambda _: (), node=node), ADDRESS) for node in ("a", "b", "c", "d")
    )
    script = {id(steady): [GOOD], id(flapping): [BAD, GOOD], id(broken): [BAD, BAD], id(hopeless): [SILENT]}
    runs = []

    def run(some, again):
        runs.append([path.vantage.node for path in some])
        clock.now += 1
        return [script[id(path)][again] for path in some]

    late = held(
        [steady, flapping, broken, hopeless],
        run,
        lambda path: "" if path.result is GOOD else "missed",
        lambda some: [path for path in some if path is hopeless],
        lambda path: begun + (0 if path is broken else 9),
        lambda _: False,
    )
    assert late == [hopeless]
    assert runs == [["a", "b", "c", "d"], ["b"]]
    assert [path.result for path in (steady, flapping, broken)] == [GOOD, GOOD, BAD]


def test_each_path_has_a_series_of_its_own(context, clock):
    two = [Path(Staged(context, clock, lambda _: ()), ADDRESS) for _ in range(2)]
    with pytest.raises(ValueError, match="zip"):
        held(two, lambda *_: [GOOD], lambda _: "", lambda _: [], lambda _: 0.0, lambda _: False)


def test_flaps_are_told(context, clock, events):
    one, two = (Path(Staged(context, clock, lambda _: (), node=node), ADDRESS) for node in ("one", "two"))
    one.flap = Flap("1 timed out", 1.0, 2.0)
    note_flaps([one, two])
    (told,) = [event.text for event in events if isinstance(event, Note)]
    assert told == f"pod@one at {ADDRESS}: {one.flap}"
