"""The few bodies that kubectl sends as protobuf whatever the server offers: those of its generator commands.

``kubectl create namespace|configmap|secret|serviceaccount``, ``kubectl auth can-i`` and ``kubectl drain`` use typed
clients, which encode requests as protobuf and take JSON for an answer. Numbers and names of fields are those of
k8s.io/api (generated.proto); anything else is refused with 415. Answers are never protobuf.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _BYTES = 0, 2


@dataclass(frozen=True)
class _Message:
    """A message: number -> (name, how its value is read)."""

    fields: dict[int, tuple[str, Any]]


#: strings, integers, booleans; maps of strings and of bytes; lists of strings
_STRING, _INTEGER, _BOOLEAN, _MAP, _BYTES_MAP, _STRINGS = (
    "string",
    "integer",
    "boolean",
    "map",
    "bytes map",
    "strings",
)

_META = _Message(
    {
        1: ("name", _STRING),
        2: ("generateName", _STRING),
        3: ("namespace", _STRING),
        5: ("uid", _STRING),
        6: ("resourceVersion", _STRING),
        11: ("labels", _MAP),
        12: ("annotations", _MAP),
        14: ("finalizers", _STRINGS),
    }
)
_PRECONDITIONS = _Message({1: ("uid", _STRING), 2: ("resourceVersion", _STRING)})
_DELETE_OPTIONS = _Message(
    {
        1: ("gracePeriodSeconds", _INTEGER),
        2: ("preconditions", _PRECONDITIONS),
        3: ("orphanDependents", _BOOLEAN),
        4: ("propagationPolicy", _STRING),
        5: ("dryRun", _STRINGS),
    }
)
_RESOURCE_ATTRIBUTES = _Message(
    {
        1: ("namespace", _STRING),
        2: ("verb", _STRING),
        3: ("group", _STRING),
        4: ("version", _STRING),
        5: ("resource", _STRING),
        6: ("subresource", _STRING),
        7: ("name", _STRING),
    }
)
_PATH_ATTRIBUTES = _Message({1: ("path", _STRING), 2: ("verb", _STRING)})
_ACCESS = _Message(
    {1: ("resourceAttributes", _RESOURCE_ATTRIBUTES), 2: ("nonResourceAttributes", _PATH_ATTRIBUTES)}
)

_KINDS: dict[str, _Message] = {
    "Namespace": _Message({1: ("metadata", _META)}),
    "ServiceAccount": _Message({1: ("metadata", _META), 4: ("automountServiceAccountToken", _BOOLEAN)}),
    "ConfigMap": _Message(
        {1: ("metadata", _META), 2: ("data", _MAP), 3: ("binaryData", _BYTES_MAP), 4: ("immutable", _BOOLEAN)}
    ),
    "Secret": _Message(
        {
            1: ("metadata", _META),
            2: ("data", _BYTES_MAP),
            3: ("type", _STRING),
            4: ("stringData", _MAP),
            5: ("immutable", _BOOLEAN),
        }
    ),
    "Eviction": _Message({1: ("metadata", _META), 2: ("deleteOptions", _DELETE_OPTIONS)}),
    "DeleteOptions": _DELETE_OPTIONS,
    "SelfSubjectAccessReview": _Message({1: ("metadata", _META), 2: ("spec", _ACCESS)}),
    "SelfSubjectRulesReview": _Message(
        {1: ("metadata", _META), 2: ("spec", _Message({1: ("namespace", _STRING)}))}
    ),
    "SelfSubjectReview": _Message({1: ("metadata", _META)}),
}


def decode(body: bytes) -> dict[str, Any] | None:
    """The object in a protobuf body; None for a kind that is not known here.

    Raises `ValueError` for what is no such body.
    """
    if not body.startswith(_MAGIC):
        raise ValueError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    envelope = {number: value for number, value in _fields(body[len(_MAGIC) :]) if isinstance(value, bytes)}
    type_meta = {number: value for number, value in _fields(envelope.get(1, b"")) if isinstance(value, bytes)}
    kind = type_meta.get(2, b"").decode()
    message = _KINDS.get(kind)
    if message is None:
        return None
    obj = _read(envelope.get(2, b""), message)
    return {"apiVersion": type_meta.get(1, b"").decode(), "kind": kind, **obj}


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data):
            raise ValueError("unexpected EOF")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message on the wire: number and value."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        value: int | bytes
        if wire == _VARINT:
            value, position = _varint(data, position)
        elif wire == _BYTES:
            length, position = _varint(data, position)
            value, position = data[position : position + length], position + length
            if position > len(data):
                raise ValueError("unexpected EOF")
        else:
            raise ValueError(f"proto: illegal wireType {wire}")
        yield number, value


def _read(data: bytes, message: _Message) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for number, value in _fields(data):
        name, kind = message.fields.get(number, ("", None))
        if not name:
            continue
        if isinstance(value, int):
            result[name] = bool(value) if kind == _BOOLEAN else value
        elif isinstance(kind, _Message):
            result[name] = _read(value, kind)
        elif kind in (_MAP, _BYTES_MAP):
            entry = {n: v for n, v in _fields(value) if isinstance(v, bytes)}
            item = entry.get(2, b"")
            text = base64.b64encode(item).decode() if kind == _BYTES_MAP else item.decode()
            result.setdefault(name, {})[entry.get(1, b"").decode()] = text
        elif kind == _STRINGS:
            result.setdefault(name, []).append(value.decode())
        elif value:
            result[name] = value.decode()
    return result
