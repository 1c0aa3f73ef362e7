"""Whether pytest-kind, the extra `kind`, is installed; asked before what is built on it is imported."""

from __future__ import annotations

import importlib.util

from kubereach.model.errors import CannotMeasure


def require_pytest_kind() -> None:
    """Raise `CannotMeasure` where pytest-kind is not installed; the remedy says how to install it."""
    if importlib.util.find_spec("pytest_kind") is None:
        raise CannotMeasure(
            "--target kind needs pytest-kind, which is not installed",
            "In a checkout: `pip install '.[kind]'`. From a wheel: `pip install 'FILE.whl[kind]'`.",
        )
