"""The modules that decide verdicts, and the files of tests/engine whose tests hold them: quick ones alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mutations import Mutant, mutants

REPOSITORY = Path(__file__).parents[2]

MODULES: dict[str, tuple[str, ...]] = {
    "kubereach.run.runner": ("test_running.py",),
    "kubereach.model.verdicts": ("test_verdicts.py",),
    "kubereach.kube.detection": ("test_features.py",),
    "kubereach.model.tally": ("test_verdicts.py",),
    "kubereach.expect.settle": ("test_settle.py", "test_both_told.py"),
    "kubereach.expect.converge": ("test_converge.py",),
    "kubereach.expect.hold": ("test_held.py",),
    "kubereach.expect.younger": ("test_younger.py",),
    "kubereach.expect.overload": ("test_overload.py",),
    "kubereach.expect.reach": ("test_reach.py",),
    "kubereach.expect.negative": ("test_negative.py",),
    "kubereach.expect.dns_hold": ("test_dns_answers.py",),
    "kubereach.expect.resolver": ("test_dns_answers.py",),
    "kubereach.expect.dns": ("test_dns_answers.py",),
    "kubereach.expect.srv": ("test_dns_answers.py",),
    "kubereach.expect.middlebox": ("test_negative.py",),
    "kubereach.expect.affinity": ("test_stick.py",),
    "kubereach.expect.health": ("test_stick.py",),
    "kubereach.expect.caching": ("test_caching.py",),
}


@cache
def source_of(module: str) -> str:
    return (REPOSITORY / (module.replace(".", "/") + ".py")).read_text()


def all_mutants() -> list[Mutant]:
    return [mutant for module in MODULES for mutant in mutants(module, source_of(module))]
