"""Counts of outcomes and of pods, in words."""

from __future__ import annotations

import pytest

from kubereach.model.outcome import in_words, probes_in_words, ranked


def test_most_frequent_first_and_equals_by_name():
    counts = {"b": 5, "c": 9, "a": 5}
    assert ranked(counts) == [("c", 9), ("a", 5), ("b", 5)]
    assert ranked(counts) == ranked(dict(reversed(counts.items())))


def test_outcomes_in_words():
    assert in_words({"timeout": 3, "ok": 3, "refused": 4}) == "4 refused, 3 answered, 3 timed out"
    assert in_words({"timeout": 0, "ok": 1}) == "answered"
    assert in_words({}) == ""


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ({"timeout": 4}, "4 of 4 probes timed out"),
        ({"timeout": 1, "ok": 0}, "1 of 1 probe timed out"),
        ({"timeout": 4, "ok": 20}, "20 of 24 probes answered, 4 timed out"),
        ({"nxdomain": 3}, "3 of 3 probes NXDOMAIN"),
        ({}, "no probes"),
    ],
)
def test_probes_in_words(outcomes, words):
    assert probes_in_words(outcomes) == words
