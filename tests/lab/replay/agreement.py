"""How much of each recording the lab agrees with: the table of docs/lab.md."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .player import Outcome

_DOCUMENT = Path(__file__).parents[3] / "docs" / "lab.md"
_TABLE = re.compile(r"(<!-- agreement -->\n).*?(<!-- /agreement -->)", re.DOTALL)
_HEAD = ["| recording | steps | agree | others | why |", "|---|--:|--:|--:|---|"]
#: set to "write", the table is made anew instead of compared
WRITING = os.environ.get("AGREEMENT") == "write"


def row(outcome: Outcome) -> str:
    """A line of the table: how many steps agree, and why the others do not."""
    others = outcome.excepted | {number: f"a race: {why}" for number, why in outcome.races.items()}
    told = [others[number] for number in sorted(others)]
    told += [f"in part: {outcome.parts[number].reason}" for number in sorted(outcome.parts)]
    reasons = list(dict.fromkeys(told))
    share = 100 * outcome.agreeing / outcome.steps
    cells = [outcome.name, outcome.steps, f"{outcome.agreeing} ({share:.0f} %)", len(others) or ""]
    return f"| {' | '.join(map(str, cells))} | {'; '.join(reasons)} |"


def rows() -> list[str]:
    """The lines that are in the document."""
    found = _TABLE.search(_DOCUMENT.read_text())
    return [line for line in (found[0] if found else "").splitlines() if line.startswith("| ")]


def write(outcomes: list[Outcome]) -> None:
    """Put the measured lines into the document; others stay."""
    known = {line.split("|")[1].strip(): line for line in rows() if line != _HEAD[0]}
    known |= {outcome.name: row(outcome) for outcome in outcomes}
    lines = [*_HEAD, *(known[name] for name in sorted(known))]
    text = _DOCUMENT.read_text()
    _DOCUMENT.write_text(_TABLE.sub(lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text))
