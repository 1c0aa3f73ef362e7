"""Amounts of CPU, memory and other resources.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_SUFFIXES = {
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate(("n", "u", "m", "", "k", "M"), -3)},
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate(("G", "T", "P", "E"), 3)},
    **{
        suffix: Fraction(1024) ** power
        for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)
    },
}
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i|)")


def quantity(text: object) -> Fraction:
    """The amount that ``100m``, ``1.5Gi``, ``12e6`` or a number says. Raises ValueError."""
    met = _FORM.fullmatch(str(text))
    if met is None:
        raise ValueError(f"{text!r} is no quantity")
    number, suffix = met.groups()
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return Fraction(number) * Fraction(10) ** int(suffix[1:])
    return Fraction(number) * _SUFFIXES[suffix]


def canonical(text: object) -> str:
    """A quantity as the API server writes it: without fractions, with the largest suffix that allows that.

    Raises ValueError.
    """
    amount, written = quantity(text), str(text)
    if "e" in written.lower().rstrip("Ei"):
        return written
    if written.endswith("i") and abs(amount) >= 1024:
        families = [(suffix, factor) for suffix, factor in _SUFFIXES.items() if suffix.endswith("i")]
    else:
        families = [(suffix, factor) for suffix, factor in _SUFFIXES.items() if not suffix.endswith("i")]
    for suffix, factor in sorted(families, key=lambda pair: -pair[1]):
        if amount and (amount / factor).denominator == 1:
            return f"{amount / factor}{suffix}"
    # finer than that it does not get
    return f"{math.ceil(amount / _SUFFIXES['n'])}n" if amount else "0"
