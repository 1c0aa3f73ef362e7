"""One command line option, for argparse and for pytest alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """A command line option: `kind` is ``value``, ``list`` (repeatable, commas separate) or ``flag``.

    `shared` is an option that pytest-kind has too: whoever comes second shares the first one's value.
    """

    name: str
    help: str
    kind: str = "value"
    metavar: str = ""
    shared: bool = False

    @property
    def dest(self) -> str:
        """Where pytest keeps the value; prefixed, so that no other plugin's option is taken for ours."""
        plain = self.name.replace("-", "_")
        return plain if self.shared else f"kubereach_{plain}"

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
