"""What has come back for a probe, and what that makes of it."""

from __future__ import annotations

import struct

from .identity import backend_lateness, is_beginning, not_ours, row_of, who_in
from .outcomes import empty_row, shown
from .protocol import FIRST_LOST, HEAD, SECOND_LOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .outcomes import Row
    from .series import Attempt


def read(attempt: Attempt, data: bytes) -> Row | None:
    """The row of a probe for which `data` has come in (none: the connection's end); None while more may come."""
    kind = attempt.series.kind
    if kind == "http":
        return _http(attempt, data)
    if kind == "dns":
        return _dns(attempt, data)
    if kind == "udp":
        return _identity(attempt, data)
    if not data:
        return _closed(attempt)
    attempt.data += data
    if data.endswith(b"\n") or not is_beginning(attempt.data):
        return _identity(attempt, attempt.data)
    return None


def _closed(attempt: Attempt) -> Row:
    """The other side has ended a connection before its answer was whole."""
    size = len(attempt.data)
    reason = f"closed after {size} bytes of an answer" if size else "closed without an answer"
    return empty_row("protocol", "", reason)


def _http(attempt: Attempt, data: bytes) -> Row | None:
    series = attempt.series
    attempt.data = whole = attempt.data + data if attempt.data else data
    head, separator, body = whole.partition(b"\r\n\r\n")
    if not whole.startswith(b"HTTP/1.") and whole != b"HTTP/1."[: len(whole)]:
        return not_ours(whole, series.nonce)
    if len(head) > HEAD:
        return _foreign_http(attempt, head)
    if separator and series.request.get("status"):
        words = head.split(b"\r\n", 1)[0].split(b" ")
        return empty_row("ok", "", shown(words[1]) if len(words) > 1 else "")
    if separator:
        size = size_in(head)
        if 0 <= size <= len(body):
            return _http_whole(attempt, head, body[:size])
        if not data or not 0 <= size <= HEAD:
            return _foreign_http(attempt, head)
        return None
    return None if data else _closed(attempt)


def _http_whole(attempt: Attempt, head: bytes, body: bytes) -> Row | None:
    if attempt.series.request.get("text"):
        if head.startswith(b"HTTP/1.1 200 "):
            return empty_row("ok", "", body[:4096].decode("utf-8", "replace"))
        return empty_row("protocol", "", shown(head.split(b"\r\n", 1)[0]))
    if head.startswith(b"HTTP/1.1 200 "):
        return _identity(attempt, body)
    return _foreign_http(attempt, head, body)


def _foreign_http(attempt: Attempt, head: bytes, body: bytes = b"") -> Row:
    """An HTTP answer that is no backend's, or with a status that says that it does not do what it was asked for."""
    nonce = attempt.series.nonce
    try:
        ours = not nonce or who_in(body)["nonce"] == nonce
    except ValueError:
        ours = False
    first, *headers = head.split(b"\r\n")
    servers = [header for header in headers if header[:7].lower() == b"server:"]
    detail = ", ".join(map(shown, (first, *servers[:1])))
    return empty_row("protocol" if ours else "foreign", "", detail)


def _identity(attempt: Attempt, body: bytes) -> Row | None:
    """Who answered."""
    series = attempt.series
    sock = attempt.sock
    assert sock is not None
    try:
        who = who_in(body)
    except ValueError:
        return not_ours(body, series.nonce)
    if "late" in who:
        series.backend_late = max(series.backend_late, backend_lateness(who))
    row = row_of(who, sock.getsockname()[0], series.nonce)
    another = series.kind != "http" and who.get("echo", "").encode("utf-8", "replace") != attempt.token
    if row[0] == "ok" and another:
        if series.kind in ("tcp", "sctp"):
            return empty_row("protocol", "", "answered another question")
        # a late or duplicated datagram is not ours: the real answer may still come
        return None
    return row


def _dns(attempt: Attempt, data: bytes) -> Row | None:
    series = attempt.series
    if series.beside:
        return _both(attempt, data)
    question = series.payload
    tcp = series.request.get("transport") == "tcp"
    if tcp:
        attempt.data += data
        if len(attempt.data) < 2 or len(attempt.data) - 2 < struct.unpack_from("!H", attempt.data)[0]:
            return None if data else empty_row("protocol", "", "closed before the answer was complete")
        data = attempt.data[2:]
        question = question[2:]
    if len(data) < 12 or data[:2] != question[:2] or not data[2] & 0x80:
        return empty_row("protocol", "", "the answer is for another question") if tcp else None
    return _dns_row(attempt, data)


def _both(attempt: Attempt, data: bytes) -> Row | None:
    """Of two questions: over when both are answered."""
    import base64  # few series need it

    series, sock = attempt.series, attempt.sock
    assert sock is not None
    questions = (series.payload[:2], series.beside[:2])
    if len(data) < 12 or data[:2] not in questions or not data[2] & 0x80:
        return None
    if attempt.data[:2] in (b"", data[:2]):
        attempt.data = data
        return None
    both = (attempt.data, data) if attempt.data[:2] == questions[0] else (data, attempt.data)
    return empty_row("ok", sock.getsockname()[0], " ".join(base64.b64encode(one).decode() for one in both))


def lost_of_two(attempt: Attempt) -> str:
    """Of two questions, which one alone was not answered; empty if neither was, or if there is one question."""
    if not attempt.series.beside or not attempt.data:
        return ""
    return SECOND_LOST if attempt.data[:2] == attempt.series.payload[:2] else FIRST_LOST


def _dns_row(attempt: Attempt, data: bytes) -> Row:
    import base64  # few series need it

    sock = attempt.sock
    assert sock is not None
    code = data[3] & 15
    if code == 0:
        outcome = "ok" if data[6:8] != b"\0\0" else "nodata"
    else:
        outcome = {3: "nxdomain", 2: "servfail"}.get(code, "protocol")
    return empty_row(outcome, sock.getsockname()[0], base64.b64encode(data).decode())


def size_in(head: bytes) -> int:
    """The length of the body that an HTTP answer's head gives; -1 if it gives none."""
    at = head.find(b"\r\nContent-Length:")
    if at < 0:
        # proxies write names of headers as they like
        at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        return -1
    text = head[at + 17 :].split(b"\r\n", 1)[0].strip()
    return int(text) if text.isdigit() and len(text) < 16 else -1
