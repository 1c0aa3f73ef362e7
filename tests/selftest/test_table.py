"""The table of faults, and the page that is made of it."""

from __future__ import annotations

from pathlib import Path

from kubereach.model.check import CORE, EXT, INFO
from kubereach.model.check import make as make_check
from kubereach.run.catalogue import read_checks, suites_folder
from kubereach.selftest.command import PAGE, static_problems
from kubereach.selftest.document import document
from kubereach.selftest.inverse import inverse
from kubereach.selftest.row import by
from kubereach.selftest.table import ABSENT, TABLE
from kubereach_lab.faults import FAULTS, LAYERS

ROOT = Path(__file__).parents[2]
CHECKS = read_checks(suites_folder(ROOT))


def test_every_fault_and_every_check() -> None:
    assert static_problems(CHECKS) == []
    assert set(ABSENT) <= {check.id for check in CHECKS}


def test_in_order() -> None:
    assert list(FAULTS) == sorted(FAULTS)
    assert list(TABLE) == sorted(TABLE)
    assert {fault.layer for fault in FAULTS.values()} <= set(LAYERS)


def test_the_page_is_as_the_table() -> None:
    page = document(FAULTS, TABLE, CHECKS)
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page, "kubereach selftest --write writes it anew"


def test_the_other_way_round() -> None:
    checks = [
        make_check(id, level, (), "source", "Says.", Path("x"), "x")
        for id, level in [("a.b", CORE), ("a.c", INFO), ("a.d", EXT), ("a.e", INFO)]
    ]
    found = inverse({"one": by("a.b"), "two": by("a.b", noted=["a.c"])}, checks)
    assert [(one.check.id, one.faults, one.alone, one.idle) for one in found] == [
        ("a.b", ("one", "two"), ("one",), False),
        ("a.c", ("two",), (), False),
        ("a.d", (), (), True),
        ("a.e", (), (), False),
    ]
