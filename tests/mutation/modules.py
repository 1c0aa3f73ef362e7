"""The modules that decide verdicts, and the files of tests/ whose tests hold them: quick ones alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mutations import Mutant, mutants

if TYPE_CHECKING:
    import pytest

REPOSITORY = Path(__file__).parents[2]

MODULES: dict[str, tuple[str, ...]] = {
    "kubereach.run.runner": ("run/test_running.py",),
    "kubereach.model.verdicts": ("model/test_verdicts.py",),
    "kubereach.kube.detection": ("kube/test_features.py",),
    "kubereach.model.tally": ("model/test_verdicts.py",),
    "kubereach.expect.settle": ("expect/test_settle.py", "expect/test_both_told.py"),
    "kubereach.expect.converge": ("expect/test_converge.py",),
    "kubereach.expect.hold": ("expect/test_held.py",),
    "kubereach.expect.younger": ("expect/test_younger.py",),
    "kubereach.expect.overload": ("expect/test_overload.py",),
    "kubereach.expect.reach": ("expect/test_reach.py", "expect/test_both_told.py"),
    "kubereach.expect.negative": ("expect/test_negative.py", "expect/test_both_told.py"),
    "kubereach.expect.dns_hold": (
        "expect/test_dns_answers.py",
        "expect/test_dns_asked.py",
        "expect/test_both_told.py",
    ),
    "kubereach.expect.resolver": (
        "expect/test_dns_answers.py",
        "expect/test_dns_asked.py",
        "expect/test_both_told.py",
    ),
    "kubereach.expect.dns": (
        "expect/test_dns_answers.py",
        "expect/test_dns_forms.py",
        "expect/test_dns_asked.py",
        "expect/test_both_told.py",
    ),
    "kubereach.expect.dns_pair": ("expect/test_dns_forms.py",),
    "kubereach.expect.srv": (
        "expect/test_dns_answers.py",
        "expect/test_dns_asked.py",
        "expect/test_both_told.py",
    ),
    "kubereach.expect.middlebox": ("expect/test_negative.py",),
    "kubereach.expect.affinity": ("expect/test_stick.py", "expect/test_both_told.py"),
    "kubereach.expect.health": ("expect/test_stick.py", "expect/test_both_told.py"),
    "kubereach.expect.caching": ("expect/test_caching.py",),
}


@cache
def source_of(module: str) -> str:
    return (REPOSITORY / (module.replace(".", "/") + ".py")).read_text()


def all_mutants() -> list[Mutant]:
    return [mutant for module in MODULES for mutant in mutants(module, source_of(module))]


def held_by(items: Sequence[pytest.Item], files: tuple[str, ...]) -> list[pytest.Item]:
    """The tests of these files of tests/, in the files' order.

    Raises `LookupError` where there are none: a mutant that nobody looks for would count as killed.
    """
    found = [item for name in files for item in items if item.path == REPOSITORY / "tests" / name]
    if not found:
        raise LookupError(f"no test of {', '.join(files)} was collected")
    return found
