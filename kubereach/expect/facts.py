"""Facts of API objects: what a check compares without a probe."""

from __future__ import annotations

from kubereach.model.tally import judged


def verify(holds: object, otherwise: str) -> None:
    """The fact `holds` is true. A plain ``assert`` would do the same, but a pass has to have judged something.

    Raises `AssertionError`, which fails the check, with the text `otherwise`.
    """
    judged()
    if not holds:
        raise AssertionError(otherwise)
