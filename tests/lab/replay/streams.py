"""Plays what is no single answer: exec, attach and port-forward over WebSocket, and logs that are followed.

How output is cut into frames, and which of two streams comes first, is a matter of pipes and schedulers. So what is
compared is the opcode and channel of the first and of the last frames, and all that came on each channel in between.
What was sent at some moment is sent when all has come that had come before it. Where the client gave up waiting for
more, nothing more may come for a while.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

import httpx
from lab_access import LabAccess
from websocket import (
    ABNF,
    WebSocket,
    WebSocketBadStatusException,
    WebSocketTimeoutException,
    create_connection,
)

from .compare import Pairs, differences, texts
from .scenario import Object

#: longest wait for a frame that was recorded, seconds
_PATIENCE = 10.0
#: in which nothing may come where nothing more came, seconds
_QUIET = 0.5
_OUTPUT = (1, 2)


def play_websocket(lab: LabAccess, step: Object, pairs: Pairs) -> list[str]:
    """Open a WebSocket, send what was sent, and say what is different about what came."""
    request, recorded = step["request"], step["response"]
    try:
        connection = _connect(lab, pairs.told(request["path"]), request["query"], request["subprotocol"])
    except WebSocketBadStatusException as refusal:
        return list(_refusal_differences(refusal, recorded, pairs))
    try:
        if recorded["status"] != 101:
            return [f"status: 101, recorded {recorded['status']}"]
        wrong = list(differences(recorded["subprotocol"], connection.getsubprotocol(), pairs, "subprotocol"))
        came = _converse(connection, request["sent"], recorded["frames"])
        return wrong + list(_frame_differences(recorded["frames"], came, pairs))
    finally:
        connection.shutdown()


def _connect(lab: LabAccess, path: str, query: list[list[str]], protocol: str | None) -> WebSocket:
    folder = lab.lab.kubeconfig.parent
    url = str(lab.http.base_url.copy_with(scheme="wss")).rstrip("/") + path
    options = {
        "ca_certs": str(folder / "ca.crt"),
        "certfile": str(folder / "client.crt"),
        "keyfile": str(folder / "client.key"),
        "cert_reqs": ssl.CERT_REQUIRED,
    }
    return create_connection(
        f"{url}?{httpx.QueryParams([tuple(pair) for pair in query])}",
        subprotocols=[protocol] if protocol else [],
        sslopt=options,
        timeout=_PATIENCE,
    )


def _refusal_differences(
    refusal: WebSocketBadStatusException, recorded: Object, pairs: Pairs
) -> Iterator[str]:
    if refusal.status_code != recorded["status"]:
        yield f"status: {refusal.status_code}, recorded {recorded['status']}: {refusal.resp_body!r}"
        return
    headers, body = refusal.resp_headers or {}, (refusal.resp_body or b"").decode()
    wanted = recorded["headers"].get("content-type", "")
    if wanted:
        yield from texts(wanted, headers.get("content-type", ""), pairs, "header content-type")
    expected = recorded["body"] or ""
    yield from differences(expected, json.loads(body) if isinstance(expected, dict) else body, pairs)


def _converse(connection: WebSocket, sent: list[Object], frames: list[Object]) -> list[Object]:
    """All frames until the server closes, or until nothing comes any more where that was recorded."""
    came: list[Object] = []
    for message in sent:
        before = [frame for frame in frames if frame["t_ms"] <= message["t_ms"]]
        deadline = time.monotonic() + _PATIENCE
        while _amounts(came) != _amounts(before) and time.monotonic() < deadline:
            came.append(_frame(connection))
            if "code" in came[-1]:
                return came
        connection.send_binary(bytes([message["channel"]]) + _data(message))
    if "timeout" in frames[-1]:
        while _amounts(came) != _amounts(frames):
            came.append(_frame(connection))
        connection.settimeout(_QUIET)
    while not came or not {"code", "timeout"} & came[-1].keys():
        came.append(_frame(connection))
    return came


def _frame(connection: WebSocket) -> Object:
    try:
        opcode, data = connection.recv_data()
    except WebSocketTimeoutException:
        return {"timeout": True}
    if opcode == ABNF.OPCODE_CLOSE:
        return {"opcode": "close", "code": int.from_bytes(data[:2], "big"), "reason": data[2:].decode()}
    if opcode == ABNF.OPCODE_TEXT:
        return {"opcode": "text", "text": data.decode()}
    return {"opcode": "binary", "channel": data[0], "base64": base64.b64encode(data[1:]).decode()}


def _data(frame: Object) -> bytes:
    if "base64" in frame:
        return base64.b64decode(frame["base64"])
    if "length" in frame:
        return bytes(frame["begins"][:1].encode() * int(frame["length"]))
    return bytes(frame["text"].encode())


def _amounts(frames: list[Object]) -> dict[int, int]:
    """How much came on each channel, the empty frame at the beginning included."""
    amounts: dict[int, int] = {}
    for frame in frames:
        if "channel" in frame:
            amounts[frame["channel"]] = amounts.get(frame["channel"], 0) + len(_data(frame))
    return amounts


def _outline(frames: list[Object]) -> list[Any]:
    """Opcodes and channels in order, what came on stdout and stderr after the first frame being one."""
    outline: list[Any] = []
    for place, frame in enumerate(frames):
        entry = {key: value for key, value in frame.items() if key in ("opcode", "channel", "code", "reason")}
        if "timeout" in frame:
            entry = {"timeout": True}
        elif place and frame.get("channel") in _OUTPUT:
            entry = {"opcode": frame["opcode"], "channel": "output"}
        if not outline or outline[-1] != entry:
            outline.append(entry)
    return outline


def _frame_differences(recorded: list[Object], came: list[Object], pairs: Pairs) -> Iterator[str]:
    yield from differences(_outline(recorded), _outline(came), pairs, "frames")
    if recorded and came and "channel" in recorded[0] and "channel" in came[0]:
        yield from _data_differences([recorded[0]], [came[0]], pairs, "first frame")
    for channel in sorted({frame["channel"] for frame in [*recorded, *came] if "channel" in frame}):
        ours = [frame for frame in recorded if frame.get("channel") == channel]
        theirs = [frame for frame in came if frame.get("channel") == channel]
        yield from _data_differences(ours, theirs, pairs, f"channel {channel}")
    ours, theirs = ([f["text"] for f in frames if f.get("opcode") == "text"] for frames in (recorded, came))
    yield from differences(ours, theirs, pairs, "text frames")


def _data_differences(recorded: list[Object], came: list[Object], pairs: Pairs, where: str) -> Iterator[str]:
    one, other = b"".join(map(_data, recorded)), b"".join(map(_data, came))
    if one != other:
        yield from texts(one.decode("latin-1"), other.decode("latin-1"), pairs, where)


def play_follow(http: httpx.Client, step: Object, pairs: Pairs) -> list[str]:
    """Read a log that is followed for as long as the recording goes on."""
    request, recorded = step["request"], step["response"]
    wanted = "".join(chunk["text"] for chunk in recorded["chunks"])
    read = ""
    with http.stream(
        "GET", pairs.told(request["path"]), params=request["query"], timeout=_PATIENCE
    ) as answer:
        if answer.status_code != recorded["status"]:
            return [f"status: {answer.status_code}, recorded {recorded['status']}"]
        kind = answer.headers.get("content-type", "")
        wrong = list(texts(recorded["headers"]["content-type"], kind, pairs, "header content-type"))
        try:
            for text in answer.iter_text():
                read += text
                if len(read) >= len(wanted):
                    break
        except httpx.ReadTimeout:
            wrong.append("nothing more came")
    return wrong + list(texts(wanted, read, pairs, "chunks"))
