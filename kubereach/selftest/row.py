"""One row of the table: what a run on a lab with one fault must come to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Row:
    """The checks that do not pass, by verdict: `error`: the fault breaks their control; `noted`: info checks.

    A fault that nobody's network has is told apart: the run is `stopped`, or every check passes.
    """

    fail: frozenset[str] = field(default_factory=frozenset)
    error: frozenset[str] = frozenset()
    unsupported: frozenset[str] = frozenset()
    noted: frozenset[str] = frozenset()
    #: of the run, beside the fault's name
    options: tuple[str, ...] = ()
    #: globs of checks that may or may not pass: the fault is a matter of luck, or so broad that others end early
    perhaps: tuple[str, ...] = ()
    #: words of the message with which the run ends, unable to measure
    stopped: str = ""
    #: of an intermittent fault: the chance that a run overlooks it, and how it is calculated
    overlooked: str = ""
    #: whether that takes series at full length
    full_length: bool = False
    #: a feature without which the fault cannot be seen on this machine
    needs: str = ""

    def is_open(self, check: str) -> bool:
        """Whether nothing is said of a check."""
        return check not in self.verdicts and any(fnmatchcase(check, glob) for glob in self.perhaps)

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict of every check that does not pass."""
        return {
            **dict.fromkeys(self.fail, "fail"),
            **dict.fromkeys(self.error, "error"),
            **dict.fromkeys(self.unsupported, "unsupported"),
            **dict.fromkeys(self.noted, "noted"),
        }

    @property
    def caught_by(self) -> frozenset[str]:
        """The checks that tell of the fault: those that find that the cluster does not conform."""
        return self.fail | self.noted


def by(
    *fail: str,
    error: Collection[str] = (),
    unsupported: Collection[str] = (),
    noted: Collection[str] = (),
    options: Collection[str] = (),
    perhaps: Collection[str] = (),
    overlooked: str = "",
    full_length: bool = False,
    needs: str = "",
) -> Row:
    """A fault that these checks catch: they fail, and the others as they are named."""
    sets = (frozenset(fail), frozenset(error), frozenset(unsupported), frozenset(noted))
    return Row(
        *sets, tuple(options), tuple(perhaps), overlooked=overlooked, full_length=full_length, needs=needs
    )


def stops(words: str, *options: str) -> Row:
    """A fault that keeps kubereach from measuring: it says so, in these words among others, and exits with 3."""
    return Row(options=options, stopped=words)


def recovers(*options: str) -> Row:
    """A fault that kubereach gets over: every check passes."""
    return Row(options=options)
