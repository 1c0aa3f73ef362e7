"""``log``: what a container wrote, from the file that its runtime keeps in CRI's format."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from kubereach_lab import status
from kubereach_lab.api.context import Context
from kubereach_lab.api.remote_command import container_of
from kubereach_lab.api.requests import Target, flag, number
from kubereach_lab.status import Cause, Object

#: how soon a line that is written is sent to a client that follows, in seconds
_POLL = 0.05
_BLOCK = 64 * 1024


class _Options:
    """The options of PodLogOptions. Raises `StatusError` 422."""

    def __init__(self, name: str, query: Mapping[str, str]) -> None:
        self.follow = flag(query, "follow")
        self.timestamps = flag(query, "timestamps")
        self.previous = flag(query, "previous")
        self.tail = number(query, "tailLines")
        self.limit = number(query, "limitBytes")
        self.since: datetime | None = None
        causes: list[Cause] = []
        seconds = number(query, "sinceSeconds")
        if seconds is not None:
            if seconds < 1:
                causes.append(status.invalid_value("sinceSeconds", seconds, "must be greater than 0"))
            self.since = datetime.now(timezone.utc) - timedelta(seconds=max(0, seconds))
        if moment := query.get("sinceTime"):
            self.since = _time(moment)
        if self.tail is not None and self.tail < 0:
            causes.append(status.invalid_value("tailLines", self.tail, "must be greater than or equal to 0"))
        if self.limit is not None and self.limit < 1:
            causes.append(status.invalid_value("limitBytes", self.limit, "must be greater than 0"))
        if query.get("stream", "All") != "All":
            causes.append(status.forbidden_field("stream", "may not be specified"))
        if causes:
            raise status.invalid("PodLogOptions", name, causes)


def _time(text: str) -> datetime:
    """A time stamp of up to nanoseconds. Raises `StatusError` 400."""
    try:
        moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
        fraction = text[20:].rstrip("Z") if text[19:20] == "." else ""
        return moment + timedelta(microseconds=int((fraction + "000000")[:6]) if fraction else 0)
    except ValueError as error:
        raise status.bad_request(f"parsing time {text}: {error}") from error


def render(line: bytes, options: _Options) -> bytes:
    """A line of the file as the client sees it; empty if it is too old."""
    stamp, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    kind, _, text = rest.partition(b" ")
    if options.since is not None and _time(stamp.decode()) < options.since:
        return b""
    if kind == b"P":
        # a part of a long line: the newline comes with the last part
        text = text.removesuffix(b"\n")
    return stamp + b" " + text if options.timestamps else text


def _tail(file: BinaryIO, count: int) -> None:
    """Moves to the beginning of the last `count` lines."""
    end = file.seek(0, os.SEEK_END)
    position, newlines = end, 0
    while position > 0 and newlines <= count:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        # a line ends with a newline: the one at the very end belongs to the last line
        index = len(block)
        while (index := block.rfind(b"\n", 0, index)) >= 0:
            if position + index + 1 == end:
                continue
            newlines += 1
            if newlines == count:
                file.seek(position + index + 1)
                return
    file.seek(0)


def _lines(file: BinaryIO, rest: bytes) -> Iterator[bytes]:
    """Whole lines; what follows the last newline comes out at the end, without one."""
    while block := file.read(_BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line + b"\n"
    yield rest


async def log(request: web.BaseRequest, context: Context, target: Target) -> web.StreamResponse:
    """Answers with the log as text; with ``follow`` until the container ends or the client leaves."""
    registry = context.registry
    pod = registry.get("pods", target.namespace, target.name)
    options = _Options(target.name, request.query)
    container = container_of(pod, request.query.get("container", ""))
    if not pod["spec"].get("nodeName"):
        return web.Response(status=204)
    path = context.runtime.log_file(pod, container, previous=options.previous)
    if path is None or not path.exists():
        raise status.bad_request(_missing(pod, container, options))
    response = web.StreamResponse()
    response.content_type = "text/plain"
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        await _send(response, path, options, lambda: _ended(context, pod, container))
        await response.write_eof()
    except ConnectionResetError:
        # the client left
        return response
    return response


def _missing(pod: Object, container: str, options: _Options) -> str:
    name = pod["metadata"]["name"]
    if options.previous:
        return f'previous terminated container "{container}" in pod "{name}" not found'
    for state in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = (state.get("state") or {}).get("waiting")
        if state["name"] == container and waiting:
            text = waiting.get("message") or waiting.get("reason", "")
            return f'container "{container}" in pod "{name}" is waiting to start: {text}'
    return f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating'


def _ended(context: Context, pod: Object, container: str) -> bool:
    """Whether nothing more will be written: the pod is gone or over, or the container was started anew."""
    metadata = pod["metadata"]
    now = context.registry.find("pods", metadata["namespace"], metadata["name"])
    if now is None or now["metadata"]["uid"] != metadata["uid"]:
        return True
    if (now.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    return _restarts(now, container) != _restarts(pod, container)


def _restarts(pod: Object, container: str) -> int:
    states = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((s.get("restartCount", 0) for s in states if s["name"] == container), 0)


async def _send(
    response: web.StreamResponse, path: Path, options: _Options, ended: Callable[[], bool]
) -> None:
    budget = options.limit
    with path.open("rb") as file:
        if options.tail is not None:
            _tail(file, options.tail) if options.tail else file.seek(0, os.SEEK_END)
        rest = b""
        over = False
        while True:
            out: list[bytes] = []
            for line in _lines(file, rest):
                rest = b""
                if not line.endswith(b"\n"):
                    rest = line
                    break
                out.append(render(line, options))
            text = b"".join(out)
            if budget is not None:
                text = text[:budget]
                budget -= len(text)
            if text:
                await response.write(text)
            if not options.follow or budget == 0 or (over and not text):
                return
            # once more after the end, since the last lines may have come just before it
            over = ended()
            if not over:
                await asyncio.sleep(_POLL)
