"""The Status bodies in which the API answers a refusal, and the field errors inside them.

The wording is the API server's (k8s.io/apimachinery: api/errors and util/validation/field), because clients and people
read `message`, and programs read `reason` and `details.causes`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


class StatusError(Exception):
    """A refusal. `code` is the HTTP status, `status` the Kubernetes Status body (``kind: Status``)."""

    def __init__(
        self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        self.code = code
        self.reason = reason
        self.message = message
        self.status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self.status["message"] = message
        if reason:
            self.status["reason"] = reason
        if details is not None:
            self.status["details"] = dict(details)
        self.status["code"] = code
        super().__init__(message)


@dataclass(frozen=True)
class Cause:
    """One field that is wrong: `field` is its path, ``spec.ports[0].nodePort``."""

    field: str
    reason: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "field": self.field}


def quoted(value: object) -> str:
    """A value as Go prints it inside a field error: strings quoted, lists and objects as JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def invalid_value(field: str, value: object, detail: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {quoted(value)}: {detail}")


def required(field: str, detail: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")


def forbidden_field(field: str, detail: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {detail}")


def unsupported_value(field: str, value: object, supported: Iterable[str], *, ordered: bool = False) -> Cause:
    """The server sorts what it supports, unless `ordered` says that it keeps its own order."""
    values = ", ".join(quoted(v) for v in (supported if ordered else sorted(supported)))
    return Cause(
        field, "FieldValueNotSupported", f"Unsupported value: {quoted(value)}: supported values: {values}"
    )


def duplicate(field: str, value: object) -> Cause:
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {quoted(value)}")


def too_many(field: str, count: int, most: int) -> Cause:
    return Cause(field, "FieldValueTooMany", f"Too many: {count}: must have at most {most} items")


def qualified(resource: str, group: str) -> str:
    """``deployments.apps``: a resource or kind with its group; the core group has none."""
    return f"{resource}.{group}" if group else resource


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    details = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in details.items() if value}


def not_found(resource: str, name: str, group: str = "") -> StatusError:
    message = f"{qualified(resource, group)} {quoted(name)} not found"
    return StatusError(404, "NotFound", message, _details(name, group, resource))


def no_such_path() -> StatusError:
    """The answer to a path of the API that no resource has."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: str, name: str, group: str = "") -> StatusError:
    message = f"{qualified(resource, group)} {quoted(name)} already exists"
    return StatusError(409, "AlreadyExists", message, _details(name, group, resource))


def conflict(resource: str, name: str, why: str = "", group: str = "") -> StatusError:
    """409: somebody else changed the object first, unless `why` says something else."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    message = f"Operation cannot be fulfilled on {qualified(resource, group)} {quoted(name)}: {why}"
    return StatusError(409, "Conflict", message, _details(name, group, resource))


def invalid(kind: str, name: str, causes: Iterable[Cause], group: str = "") -> StatusError:
    """422 with one cause for each field; the message joins them, each once."""
    causes = list(causes)
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = _details(name, group, kind)
    details["causes"] = [cause.as_dict() for cause in causes]
    message = f"{qualified(kind, group)} {quoted(name)} is invalid: {text}"
    return StatusError(422, "Invalid", message, details)


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def forbidden(
    resource: str, name: str, why: str, group: str = "", causes: Iterable[Cause] = ()
) -> StatusError:
    details = _details(name, group, resource)
    if listed := [cause.as_dict() for cause in causes]:
        details["causes"] = listed
    message = f"{qualified(resource, group)} {quoted(name)} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, details)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def gone(message: str) -> StatusError:
    """410 Expired: the resource version or continue token is older than what is kept."""
    return StatusError(410, "Expired", message)


def method_not_allowed() -> StatusError:
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def not_acceptable(served: Iterable[str]) -> StatusError:
    message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(served)}"
    return StatusError(406, "NotAcceptable", message, {})


def unsupported_media_type(message: str, details: Mapping[str, Any] | None = None) -> StatusError:
    return StatusError(415, "UnsupportedMediaType", message, details)


def unprocessable() -> StatusError:
    """422 without a field: a JSON patch that cannot be applied."""
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def not_implemented(message: str) -> StatusError:
    """501: what the lab leaves out on purpose; the message says so."""
    return StatusError(501, "NotImplemented", message)


def internal_error(message: str) -> StatusError:
    text = f"Internal error occurred: {message}"
    return StatusError(500, "InternalError", text, {"causes": [{"message": message}]})


def success(details: Mapping[str, Any]) -> Object:
    """What a DELETE answers once the object is gone."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": dict(details),
    }
