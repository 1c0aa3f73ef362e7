"""The marks of verdicts, in Unicode and for terminals that have ASCII only, and how they are coloured."""

from __future__ import annotations

from dataclasses import dataclass

from kubereach.model.verdicts import ERROR, FAIL, NOTED, PASS, UNSUPPORTED


@dataclass(frozen=True)
class Symbols:
    """`reached`, `failed`, ... are the marks of the matrix, `arrow` and `times` belong to failures."""

    reached: str
    failed: str
    closed: str
    noted: str
    error: str
    arrow: str
    times: str
    dot: str

    def of(self, verdict: str) -> str:
        marks = {PASS: self.reached, FAIL: self.failed, UNSUPPORTED: self.closed, ERROR: self.error}
        return marks.get(verdict, self.noted)


UNICODE = Symbols("✓", "✗", "–", "i", "!", "→", "×", "·")
ASCII = Symbols("ok", "NO", "-", "i", "!", "->", "x", ".")

STYLES = {PASS: "green", FAIL: "bold red", UNSUPPORTED: "yellow", ERROR: "bold magenta", NOTED: "cyan"}


def symbols_for(encoding: str | None) -> Symbols:
    """The marks that a stream of this encoding can show."""
    try:
        "✓✗–→×".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
