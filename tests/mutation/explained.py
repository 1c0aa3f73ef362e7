"""Reads docs/verdicts-mutants.md: which mutants no test kills, and why none has to."""

from __future__ import annotations

import re

from modules import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "verdicts-mutants.md"
_LINE = re.compile(r"- (?P<key>kubereach\.[\w.]+:[\w.]*: `.*?` -> `.*?`(?: \(\d+\))?): (?P<reason>.+)")


def explained() -> dict[str, str]:
    """The reason for each survivor that has one, by the mutant's key."""
    lines = DOCUMENT.read_text().splitlines() if DOCUMENT.exists() else []
    found = [_LINE.fullmatch(line) for line in lines if line.startswith("- ")]
    return {line["key"]: line["reason"] for line in found if line is not None}
