"""The commands of recordings/kubectl.md with what they wrote on a real cluster, and what may differ of that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).parents[1] / "recordings" / "kubectl.md"
_WORD = re.compile(r"'([^']*)'|(\S+)")
_GENERATED = "[bcdfghjklmnpqrstvwxz2456789]"


@dataclass(frozen=True)
class Command:
    """One recorded command. `exit` is None where the caller ended it; `stdout` and `stderr` where they are not told."""

    title: str
    words: list[str]
    exit: int | None
    stdout: str | None
    stderr: str | None


def commands() -> list[Command]:
    """All of them, in their order."""
    found = []
    for section in re.split(r"^## ", _FILE.read_text(), flags=re.MULTILINE)[1:]:
        line = re.search(r"^`kubectl (.*)`  exit (\d+|ended by the caller)", section, re.MULTILINE)
        assert line is not None, section
        out = re.search(r"^stdout:\n```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        err = re.search(r"^stderr: `(.*)`$", section, re.MULTILINE)
        found.append(
            Command(
                section.partition("\n")[0],
                # quoted where a word has spaces, and nowhere else
                [quoted or plain for quoted, plain in _WORD.findall(line[1])],
                int(line[2]) if line[2].isdigit() else None,
                out[1] if out else None,
                # lines are joined by " / "; the first is the end of what -v wrote
                err[1].removeprefix("  }, / ").replace(" / ", "\n") if err else None,
            )
        )
    assert len(found) == 77, len(found)
    return found


#: (pattern, what is put for it): what differs from run to run, as the recordings' own description lists it
_VOLATILE = (
    (rf"\b(web|cr|ssa)-{_GENERATED}{{5}}\b", r"\1-xxxxx"),
    (rf"\bweb-[0-9a-z]{{8,10}}-{_GENERATED}{{5}}\b", "web-hash-xxxxx"),
    (r"\bweb-[0-9a-z]{8,10}\b(?!-)", "web-hash"),
    (r"\b10\.(96|244)\.\d+\.\d+", r"10.\1.n.n"),
    (r"(kind|kubereach)-(worker2|worker|control-plane)", "node"),
    (r"https://127\.0\.0\.1:\d+", "https://server"),
    (r"(127\.0\.0\.1|\[::1\]):\d+ -> ", r"\1:port -> "),
    # ages in the last column but for pods -o wide, which has more behind them
    (r"(?m) \d+[smhd](\d+[smh])?(?=$|  )", " age"),
    (r"I\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ", "I "),
    (r" {2,}", "  "),
)
#: what other versions of kubectl say for the same
_WORDING = (
    # since v1.34
    (r"(deleted) from \S+ namespace", r"\1"),
    (r"(?m)^(Client|Kustomize) Version: .*\n", ""),
    (r"(?m)^WARNING: version difference between client .*\n", ""),
    # since v1.33; what the client finds itself then was the server's word before
    (r"(?m)^(error: |Error from server \(BadRequest\): )(container \S+ is not valid for pod \S+).*$", r"\2"),
    (r"(?m)^All commands and output from this session will be recorded .*\n", ""),
    (r"(?m)^pod (\S+/)?\S+ terminated \(Error\)$", "pod terminated (Error)"),
)


def normal(text: str) -> str:
    """A text without what differs from run to run and from kubectl to kubectl."""
    for pattern, instead in (*_VOLATILE, *_WORDING):
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
