"""Counts of outcomes and of pods, in words."""

from __future__ import annotations

from kubereach.model.outcome import in_words, ranked


def test_most_frequent_first_and_equals_by_name():
    counts = {"b": 5, "c": 9, "a": 5}
    assert ranked(counts) == [("c", 9), ("a", 5), ("b", 5)]
    assert ranked(counts) == ranked(dict(reversed(counts.items())))


def test_outcomes_in_words():
    assert in_words({"timeout": 3, "ok": 3, "refused": 4}) == "4 refused, 3 ok, 3 time-out"
    assert in_words({"timeout": 0, "ok": 1}) == "ok"
    assert in_words({}) == ""
