"""api.newer: answers as a server of years to come gives them, or one of other makers.

Fields that nobody knows stand in every object, and null where a list is empty. Clients must not stumble over either:
https://kubernetes.io/docs/reference/using-api/deprecation-policy/ lets fields come with any version.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from kubereach_lab.api.bodies import JSON, encode
from kubereach_lab.faults import Faults

#: what has fields, as opposed to maps whose keys are users'
_STRUCTS = ("metadata", "spec", "status", "template", "loadBalancer", "conditions")
_UNKNOWN = {"futureField": {"mode": "Unheard"}, "futureList": None}


def response(given: web.StreamResponse, faults: Faults) -> web.StreamResponse:
    """An answer with what nobody knows in it, if the lab has that fault."""
    if faults.api.newer and isinstance(given, web.Response) and given.content_type == JSON:
        body = given.body
        if isinstance(body, bytes):
            given.body = encode(newer(json.loads(body)))
    return given


def newer(value: Any) -> Any:
    """A copy of an object, or of a list of objects, with fields that nobody knows."""
    if isinstance(value, list):
        return [newer(item) for item in value] or None
    if not isinstance(value, dict):
        return value
    made = {key: newer(item) if _has_fields(key, item) else item for key, item in value.items()}
    return {**made, **_UNKNOWN}


def _has_fields(key: str, item: Any) -> bool:
    return isinstance(item, list) or (key in _STRUCTS and isinstance(item, dict))
