"""How uneven a spread may be, and convergence budgets."""

from __future__ import annotations

import random

import pytest

from kubereach.expect import within_budget
from kubereach.expect.balance import deviation
from kubereach.expect.settle import watched
from kubereach.model.errors import NotConforming
from kubereach.model.events import Probed


def test_chance_stays_within_the_deviation():
    random.seed(7)
    for endpoints in (2, 3, 10):
        for _ in range(200):
            picks = [random.randrange(endpoints) for _ in range(600)]
            share = max(picks.count(e) for e in range(endpoints)) / 600
            assert share - 1 / endpoints < deviation(600, endpoints)


def test_a_balancer_that_is_unfair_does_not():
    assert deviation(600, 3) < 2 / 3 - 1 / 3


def probed(converged, change="service changed"):
    return Probed(
        "a.b", "pod@x", "pod", "x", "clusterip", "clusterip x", True, {"ok": 1}, (), converged, change
    )


def _within(context, budget, *events):
    class Run:
        pass

    run = Run()
    run.context = context
    object.__setattr__(context.settings, "convergence_budget", budget)
    with within_budget(run):
        watched.get().extend(events)


def test_paths_over_the_budget_are_told(context):
    with pytest.raises(NotConforming) as caught:
        _within(context, 1.0, probed(0.9), probed(1.4), probed(7.0, change=""))
    (failure,) = caught.value.failures
    assert failure.got == "after 1.4 s"
    assert "within 1 s" in failure.expected


def test_without_a_budget_nothing_is_too_slow(context):
    _within(context, 0.0, probed(99.0))
