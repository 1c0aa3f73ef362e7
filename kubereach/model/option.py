"""One command line option, for argparse and for pytest alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """An option of a run: ``--NAME`` of `kubereach run`, ``--kubereach-NAME`` of pytest.

    `kind` is ``value``, ``list`` (repeatable, commas separate) or ``flag``. `shared` is an option that pytest-kind has
    too, as ``--NAME``: in pytest its value counts as well, where that plugin is loaded.
    """

    name: str
    help: str
    kind: str = "value"
    metavar: str = ""
    shared: bool = False

    @property
    def dest(self) -> str:
        """The attribute that argparse and pytest keep the value in."""
        return f"kubereach_{self.name.replace('-', '_')}"

    @property
    def pytest_kind_dest(self) -> str:
        """Where pytest keeps pytest-kind's value of a shared option."""
        return self.name.replace("-", "_")

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of argparse's and pytest's option calls."""
        if self.kind == "flag":
            return {"action": "store_true", "default": False, "help": self.help, "dest": self.dest}
        action = "append" if self.kind == "list" else "store"
        default: Any = [] if self.kind == "list" else None
        return {
            "action": action,
            "default": default,
            "metavar": self.metavar,
            "help": self.help,
            "dest": self.dest,
        }
