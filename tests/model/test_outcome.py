"""Counts of outcomes and of pods, in words."""

from __future__ import annotations

import pytest

from kubereach.model.outcome import Answer, Probe, SeriesResult, in_words, probes_in_words, ranked


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


@pytest.mark.parametrize(
    ("lost", "kept", "words"),
    [
        (
            (50000, 60000, 55000),
            (33000, 40000, 41000),
            "all 3 lost probes had source ports of 50000 to 60000",
        ),
        (
            (33000, 34000, 35000),
            (40000, 50000, 41000),
            "all 3 lost probes had source ports of 33000 to 35000",
        ),
        ((33000, 34000, 45000), (40000, 50000, 41000), ""),
        ((50000, 60000), (33000, 40000, 41000), ""),
        ((50000, 60000, 55000), (33000, 40000), ""),
        ((0, 0, 0), (33000, 40000, 41000), ""),
    ],
    ids=["the upper", "the lower", "any", "few lost", "few answered", "unknown"],
)
def test_source_ports_that_are_lost_and_no_others(lost, kept, words):
    probes = [Probe(Answer("timeout"), 1.0, port=port) for port in lost]
    probes += [Probe(Answer("ok"), 0.1, port=port) for port in kept]
    said = SeriesResult(tuple(probes), 1.0).lost_ports
    assert said.startswith(words) and bool(said) == bool(words)
