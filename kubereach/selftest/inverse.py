"""The table the other way round: for each check the faults that it catches, and those that only it catches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kubereach.model.check import CORE, EXT, Check
from kubereach.selftest.row import Row


@dataclass(frozen=True)
class Catches:
    """What a check is worth. `needs`: its faults can only be had where this feature is there."""

    check: Check
    faults: tuple[str, ...]
    alone: tuple[str, ...]
    needs: str = ""

    @property
    def idle(self) -> bool:
        """Whether it must catch something and nothing makes it fail."""
        return self.check.level in (CORE, EXT) and not self.faults


def inverse(table: Mapping[str, Row], checks: Iterable[Check]) -> list[Catches]:
    """One entry for each check, by id."""
    found = []
    for check in sorted(checks, key=lambda check: check.id):
        faults = tuple(sorted(name for name, row in table.items() if check.id in row.caught_by))
        alone = tuple(name for name in faults if table[name].caught_by == {check.id})
        needs = {table[name].needs for name in faults}
        found.append(Catches(check, faults, alone, needs.pop() if len(needs) == 1 else ""))
    return found


def unknown(table: Mapping[str, Row], checks: Iterable[Check]) -> set[str]:
    """Names in the table that no check has."""
    ids = {check.id for check in checks}
    return {check for row in table.values() for check in row.verdicts} - ids
