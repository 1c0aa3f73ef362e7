"""Which of the collected checks run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kubereach.model.check import CORE, DISR, Check, declaration_of
from kubereach.model.errors import UsageError
from kubereach.run.catalogue import matching, read_checks
from kubereach.run.options import RunOptions


def check_of(item: pytest.Item) -> Check | None:
    """The check that a test item is, or None for any other test."""
    return declaration_of(getattr(item, "obj", None))


def case_of(item: pytest.Item) -> str:
    """What tells a parametrised check's items apart, else empty."""
    specification = getattr(item, "callspec", None)
    return str(specification.id) if specification else ""


def chosen(options: RunOptions, collected: Sequence[Check]) -> set[str]:
    """The ids that `options` ask for. Raises `UsageError` for a name that fits none, and when none is left."""
    checks = {check.id: check for check in collected}
    ids = matching(options.checks, collected) if options.checks else set(checks)
    if options.skip_checks:
        ids -= matching(options.skip_checks, collected)
    ids = {id for id in ids if not options.levels or checks[id].level in options.levels}
    if options.quick:
        quick = {id for id in ids if checks[id].level == CORE and not checks[id].slow}
        if ids and not quick:
            raise UsageError("none of the selected checks is quick (core and not slow)", "Leave out --quick.")
        ids = quick
    calm = {id for id in ids if options.disruptive or checks[id].level != DISR}
    if ids and not calm:
        raise UsageError("all selected checks are disruptive", "Add --disruptive to run them.")
    if not calm:
        raise UsageError("no check is selected", "Check --check, --skip-check and --level.")
    return calm


def known(manifests: Path, collected: Sequence[Check]) -> list[Check]:
    """Every check of the suites beside `manifests`, collected or not: what is left out makes a run partial."""
    suites = manifests.parent / "suites"
    read = {check.id: check for check in (read_checks(suites) if suites.is_dir() else [])}
    return list({**read, **{check.id: check for check in collected}}.values())


def refuse_xdist(config: pytest.Config) -> None:
    """Raise `UsageError` in a worker of pytest-xdist."""
    if hasattr(config, "workerinput"):
        raise UsageError(
            "pytest-xdist cannot distribute checks over processes: they share one world and its vantages",
            "Leave out -n. kubereach already runs the probes of all vantages concurrently.",
        )
