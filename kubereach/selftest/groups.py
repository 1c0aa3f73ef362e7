"""Which faults may share a run: those so narrow that each is known by its own checks.

A run with several faults counts for all of them only if exactly those checks fail that the rows of the table name
together, each with its verdict, and the report locates each of the faults by its own checks. If anything is otherwise,
whatever it is, each of them is run alone. So nothing is taken for granted but that no fault is caught in place of
another one: their checks are of different topics, or, of those few that only info checks tell of or that have options,
different at least.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.selftest.row import Row
from kubereach_lab.faults import FAULTS

#: faults of one run: with more of them, diagnosing them all takes longer than another run
_MOST = 6
#: checks that a narrow fault keeps from passing, at most
_NARROW = 8
#: options that only give a check something to ask for, and change nothing for others
_FOR_ONE_CHECK = ("--lb-provider=", "--external-name=")


def groups(rows: dict[str, Row]) -> list[tuple[str, ...]]:
    """The faults of these rows, as they are run: alone, or with others of their sort."""
    alone = [(name,) for name, row in rows.items() if _sort(name, row) is None]
    made: list[list[str]] = []
    narrow = [name for name, row in rows.items() if _sort(name, row) is not None]
    # those with many traits find company hardest
    for name in sorted(narrow, key=lambda name: -len(_traits([name], rows))):
        for group in made:
            # nothing is diagnosed where nothing fails
            small = len(group) < _MOST or not rows[name].verdicts
            fits = small and _sort(name, rows[name]) == _sort(group[0], rows[group[0]])
            if fits and not _traits([name], rows) & _traits(group, rows):
                group.append(name)
                break
        else:
            made.append([name])
    return [*alone, *(tuple(group) for group in made)]


def together(rows: Iterable[Row]) -> Row:
    """The row of a run with all their faults."""
    found = list(rows)
    if len(found) == 1:
        return found[0]
    return Row(
        fail=frozenset().union(*(row.fail for row in found)),
        error=frozenset().union(*(row.error for row in found)),
        noted=frozenset().union(*(row.noted for row in found)),
        options=tuple(dict.fromkeys(option for row in found for option in row.options)),
    )


def _sort(name: str, row: Row) -> tuple[bool, bool, bool, tuple[str, ...]] | None:
    """What must be alike of faults that share a run; None of one that has its own."""
    plain = row == Row(fail=row.fail, error=row.error, noted=row.noted, options=row.options)
    if not plain or len(row.verdicts) > _NARROW or (row.error and not row.fail):
        return None
    # a run that fails has no causes of what is only noted, and one place is looked for among three nodes
    return bool(row.fail), bool(row.noted), bool(FAULTS[name].nodes), _options(row)


def _options(row: Row) -> tuple[str, ...]:
    """Those that make the run another one for every check."""
    return tuple(option for option in row.options if not option.startswith(_FOR_ONE_CHECK))


def _traits(names: Iterable[str], rows: dict[str, Row]) -> set[str]:
    """What no two faults of a run may have in common."""
    found: set[str] = set()
    for row in (rows[name] for name in names):
        topics = row.fail and not _options(row)
        found.update(check.partition(".")[0] if topics else check for check in row.verdicts)
    return found
