"""The few bodies that kubectl sends as protobuf whatever the server offers: those of its generator commands.

``kubectl create namespace|configmap|secret|serviceaccount|deployment|service|ingress``, ``kubectl auth can-i`` and
``kubectl drain`` use typed clients, which encode requests as protobuf and take JSON for an answer. Numbers and names of
fields are those of k8s.io/api (generated.proto), as far as these commands can set them; another kind is refused with
415. Answers are never protobuf.
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


@dataclass(frozen=True)
class _Many:
    """A list of messages."""

    message: _Message


@dataclass(frozen=True)
class _Inline:
    """A message whose fields JSON has in the message around it."""

    message: _Message


_STRING, _STRINGS = "string", "strings"
#: an optional integer, which may be said to be 0; a plain one and a plain boolean, which JSON leaves out when empty
_INTEGER, _NUMBER, _BOOLEAN = "integer", "number", "boolean"
_MAP, _BYTES_MAP = "map", "bytes map"
_INT_OR_STRING = "integer or string"

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

_LABEL_SELECTOR = _Message(
    {
        1: ("matchLabels", _MAP),
        2: (
            "matchExpressions",
            _Many(_Message({1: ("key", _STRING), 2: ("operator", _STRING), 3: ("values", _STRINGS)})),
        ),
    }
)
_CONTAINER = _Message(
    {
        1: ("name", _STRING),
        2: ("image", _STRING),
        3: ("command", _STRINGS),
        4: ("args", _STRINGS),
        6: (
            "ports",
            _Many(_Message({1: ("name", _STRING), 3: ("containerPort", _NUMBER), 4: ("protocol", _STRING)})),
        ),
    }
)
_POD_SPEC = _Message(
    {
        2: ("containers", _Many(_CONTAINER)),
        3: ("restartPolicy", _STRING),
        4: ("terminationGracePeriodSeconds", _INTEGER),
        8: ("serviceAccountName", _STRING),
    }
)
_DEPLOYMENT_SPEC = _Message(
    {
        1: ("replicas", _INTEGER),
        2: ("selector", _LABEL_SELECTOR),
        3: ("template", _Message({1: ("metadata", _META), 2: ("spec", _POD_SPEC)})),
    }
)
_SERVICE_PORT = _Message(
    {
        1: ("name", _STRING),
        2: ("protocol", _STRING),
        3: ("port", _NUMBER),
        4: ("targetPort", _INT_OR_STRING),
        5: ("nodePort", _NUMBER),
    }
)
_SERVICE_SPEC = _Message(
    {
        1: ("ports", _Many(_SERVICE_PORT)),
        2: ("selector", _MAP),
        3: ("clusterIP", _STRING),
        4: ("type", _STRING),
        10: ("externalName", _STRING),
    }
)
_INGRESS_SERVICE = _Message(
    {1: ("name", _STRING), 2: ("port", _Message({1: ("name", _STRING), 2: ("number", _NUMBER)}))}
)
_INGRESS_BACKEND = _Message({4: ("service", _INGRESS_SERVICE)})
_INGRESS_PATH = _Message({1: ("path", _STRING), 2: ("backend", _INGRESS_BACKEND), 3: ("pathType", _STRING)})
_INGRESS_RULES = _Message({1: ("http", _Message({1: ("paths", _Many(_INGRESS_PATH))}))})
_INGRESS_SPEC = _Message(
    {
        1: ("defaultBackend", _INGRESS_BACKEND),
        2: ("tls", _Many(_Message({1: ("hosts", _STRINGS), 2: ("secretName", _STRING)}))),
        3: ("rules", _Many(_Message({1: ("host", _STRING), 2: ("", _Inline(_INGRESS_RULES))}))),
        4: ("ingressClassName", _STRING),
    }
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
    "Deployment": _Message({1: ("metadata", _META), 2: ("spec", _DEPLOYMENT_SPEC)}),
    "Service": _Message({1: ("metadata", _META), 2: ("spec", _SERVICE_SPEC)}),
    "Ingress": _Message({1: ("metadata", _META), 2: ("spec", _INGRESS_SPEC)}),
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
        if kind is None:
            continue
        if isinstance(value, int):
            if value or kind == _INTEGER:
                result[name] = bool(value) if kind == _BOOLEAN else value
        elif isinstance(kind, _Inline):
            result.update(_read(value, kind.message))
        elif isinstance(kind, _Many):
            result.setdefault(name, []).append(_read(value, kind.message))
        elif kind == _INT_OR_STRING:
            parts = dict(_fields(value))
            word = parts.get(3, b"")
            result[name] = word.decode() if parts.get(1) and isinstance(word, bytes) else parts.get(2, 0)
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
