"""What every handler of the API needs, and how it answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from kubereach_lab.api.bodies import JSON, Representation, encode
from kubereach_lab.config import LabConfig
from kubereach_lab.pki import Pki
from kubereach_lab.registry import Registry
from kubereach_lab.runtime import Runtime
from kubereach_lab.schemas import Schemas


@dataclass(frozen=True)
class Context:
    """The parts that the API server is made of."""

    registry: Registry
    runtime: Runtime
    pki: Pki
    config: LabConfig
    schemas: Schemas


def warning(text: str) -> str:
    """A Warning header's value (RFC 7234, code 299)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'


def answer(
    value: Any, *, code: int = 200, form: Representation | None = None, warnings: Iterable[str] = ()
) -> web.Response:
    """An answer of JSON or YAML with its Warning headers."""
    media_type = form.media_type if form else JSON
    response = web.Response(body=encode(value, media_type), status=code, content_type=media_type)
    for text in warnings:
        response.headers.add("Warning", warning(text))
    return response


def plain(text: str, code: int = 200) -> web.Response:
    return web.Response(text=text, status=code, content_type="text/plain", charset="utf-8")
