"""Who answered: the JSON object that a backend says it with, written and read.

``pod``, ``node`` and ``nonce`` are the backend's; ``client`` and ``client_port`` are whom it saw, ``port`` is where.
``echo`` is the question, ``digest`` that of an upload, ``late`` the seconds by which the backend's timers were late.
"""

from __future__ import annotations

import json

from .outcomes import empty_row, shown
from .protocol import HEAD, LONG, REPORT_LATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .outcomes import Row

#: bytes of an answer besides what it repeats of the question: names have up to 253
NAMES = 2048


class Identity:
    """A backend's own."""

    def __init__(self, pod: str, node: str, nonce: str) -> None:
        self._plain = json.dumps({"pod": pod, "node": node, "nonce": nonce})[:-1]
        #: how each answer begins
        self._who = self._plain

    def report_late(self, late: float) -> None:
        """From now on, say that timers were `late` seconds late, if that is much."""
        self._who = self._plain + (f', "late": {late:.3f}' if late > REPORT_LATE else "")

    def answer(self, client: tuple[Any, ...], port: int, more: str = "") -> bytes:
        """The JSON object that says who answered, whom it saw, and on which port."""
        host = client[0]
        if host.startswith("::ffff:"):
            host = host[7:]
        return f'{self._who}, "client": "{host}", "client_port": {client[1]}, "port": {port}{more}}}'.encode()


def who_in(data: bytes) -> dict[str, Any]:
    """What a peer says of itself in an answer. Raises ValueError for what no peer says."""
    try:
        who: dict[str, Any] = json.loads(data)
        pod, node, nonce, client, port = who["pod"], who["node"], who["nonce"], who["client"], who["port"]
        echo = who.get("echo", "")
        texts = type(pod) is type(node) is type(nonce) is type(client) is type(echo) is str
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError("not an answer of a kubereach backend") from error
    if not texts or type(port) is not int or len(data) > NAMES + len(echo):
        raise ValueError("not an answer of a kubereach backend")
    return who


def backend_lateness(who: dict[str, Any]) -> float:
    """The seconds by which a backend says that its timers were late; 0 if it does not say so."""
    late = who.get("late")
    return late if type(late) is float and 0 < late < LONG else 0.0


def row_of(who: dict[str, Any], local: str, nonce: str) -> Row:
    """The row of a backend's answer: ok, or foreign if a nonce is wanted and it carries another."""
    outcome = "foreign" if nonce and who["nonce"] != nonce else "ok"
    return (outcome, who["pod"], who["node"], who["nonce"], who["client"], local, who["port"], "")


def not_ours(data: bytes, nonce: str) -> Row:
    """The row of an answer that no backend gives; `nonce` as for `row_of`."""
    return empty_row("foreign" if nonce else "protocol", "", f"answered '{shown(data)}'")


def is_beginning(data: bytes) -> bool:
    """Whether more may come that makes these bytes of a connection a peer's answer to a line."""
    return len(data) <= HEAD and data[:8] == b'{"pod": '[: len(data)]
