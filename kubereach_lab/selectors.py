"""Label and field selectors: parsing what clients write, and matching.

Sources: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors,
field-selectors, and k8s.io/apimachinery pkg/labels and pkg/fields for the words of refusals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kubereach_lab.defaults import names
from kubereach_lab.status import Object, bad_request, quoted

Predicate = Callable[[Object], bool]

_SYMBOLS = frozenset({"==", "!=", ">", "<", "=", ",", "(", ")", "!"})
#: what is written -> the operator of a `Requirement`
_OPERATORS = {"=": "in", "==": "in", "in": "in", "!=": "notin", "notin": "notin", ">": "gt", "<": "lt"}
_TOKEN = re.compile(r"\s*(==|!=|>|<|=|,|\(|\)|!|[^\s=!<>,()]+)")


@dataclass(frozen=True)
class Requirement:
    """One requirement on a label: `operator` is in, notin, exists, !, gt or lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator == "in":
            return value is not None and value in self.values
        if self.operator == "notin":
            return value is None or value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        try:
            number, bound = int(value or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return number > bound if self.operator == "gt" else number < bound


class _Parser:
    """A recursive descent over the tokens; refusals have the words of the API server's own parser."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(text)
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self.peek():
            if self.peek() in _SYMBOLS - {"!"}:
                raise bad_request(f"found '{self.peek()}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self.requirement())
            except ValueError as error:
                raise bad_request(f"unable to parse requirement: {error}") from None
            token = self.next()
            if token not in ("", ","):
                raise bad_request(f"found '{token}', expected: ',' or 'end of string'")
            if token == "," and (self.peek() == "" or self.peek() in _SYMBOLS - {"!"}):
                raise bad_request(f"found '{self.peek()}', expected: identifier after ','")
        return found

    def requirement(self) -> Requirement:
        negated = self.peek() == "!"
        if negated:
            self.next()
        key = self.next()
        if key == "" or key in _SYMBOLS:
            raise ValueError(f"found '{key}', expected: identifier")
        if negated:
            return Requirement(key, "!")
        token = self.peek()
        if token in ("", ","):
            return Requirement(key, "exists")
        self.next()
        if token not in _OPERATORS:
            raise ValueError(f"found '{token}', expected: in, notin, =, ==, !=, gt, lt")
        operator = _OPERATORS[token]
        values = self.values() if token in ("in", "notin") else [self.value()]
        _check_values(key, operator, values)
        return Requirement(key, operator, frozenset(values))

    def value(self) -> str:
        return "" if self.peek() in ("", ",") else self.next()

    def values(self) -> list[str]:
        if (token := self.next()) != "(":
            raise ValueError(f"found '{token}' expected: '('")
        found: list[str] = []
        while True:
            token = self.next()
            if token == ")":
                return found or [""]
            if token == "":
                raise ValueError("found '', expected: ',', ')' or identifier")
            if token == ",":
                found.append("")
                continue
            found.append(token)
            token = self.next()
            if token == ")":
                return found
            if token != ",":
                raise ValueError(f"found '{token}', expected: ',' or ')'")


def _check_values(key: str, operator: str, values: list[str]) -> None:
    for i, value in enumerate(values):
        if operator in ("gt", "lt"):
            if not re.fullmatch(r"[+-]?\d+", value):
                text = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise ValueError(f"values[{i}]: Invalid value: {quoted(value)}: {text}")
        elif problems := names.label_value_problems(value):
            raise ValueError(f"values[{i}][{key}]: Invalid value: {quoted(value)}: {problems[0]}")


def parse_labels(text: str) -> list[Requirement]:
    """The requirements of a label selector, ``app=web,tier in (a, b),!old``. Raises `StatusError` 400."""
    return _Parser(text).parse()


def matches_labels(requirements: list[Requirement], obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return all(requirement.matches(labels) for requirement in requirements)


def selector_requirements(selector: Mapping[str, Any]) -> list[Requirement]:
    """The requirements of a LabelSelector object (matchLabels, matchExpressions)."""
    found = [
        Requirement(key, "in", frozenset((value,)))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    for expression in selector.get("matchExpressions") or ():
        values = frozenset(expression.get("values") or ())
        found.append(Requirement(expression["key"], operators[expression["operator"]], values))
    return found


def matches_selector(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector object matches `labels`; an empty one matches everything."""
    return all(requirement.matches(labels) for requirement in selector_requirements(selector))


def selector_text(selector: Mapping[str, Any]) -> str:
    """A LabelSelector object as a label selector: ``app=d,tier in (a,b)``."""
    parts: list[str] = []
    for requirement in sorted(selector_requirements(selector), key=lambda r: r.key):
        values = ",".join(sorted(requirement.values))
        if requirement.operator == "in" and len(requirement.values) == 1:
            parts.append(f"{requirement.key}={values}")
        elif requirement.operator in ("in", "notin"):
            parts.append(f"{requirement.key} {requirement.operator} ({values})")
        else:
            parts.append(("!" if requirement.operator == "!" else "") + requirement.key)
    return ",".join(parts)


_METADATA_FIELDS = ("metadata.name", "metadata.namespace")
#: the fields by which each kind can be selected, beside metadata.name and metadata.namespace
_FIELDS: dict[str, frozenset[str]] = {
    "pods": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        }
    ),
    "services": frozenset({"spec.clusterIP", "spec.type"}),
    "nodes": frozenset({"spec.unschedulable"}),
    "namespaces": frozenset({"status.phase"}),
    "secrets": frozenset({"type"}),
    "replicasets": frozenset({"status.replicas"}),
    "replicationcontrollers": frozenset({"status.replicas"}),
    "events": frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
        }
    ),
}


def _field_value(obj: Object, field: str) -> str:
    value: Any = obj
    for part in field.replace("regarding.", "involvedObject.").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if field == "source":
        value = (obj.get("source") or {}).get("component")
    if value is None:
        return "false" if field in ("spec.unschedulable", "spec.hostNetwork") else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def parse_fields(resource: str, text: str) -> Predicate | None:
    """A predicate for a field selector, ``spec.nodeName=a,status.phase!=Failed``; None for an empty one.

    Raises `StatusError` 400 for a field that the kind does not offer.
    """
    terms: list[tuple[str, str, bool]] = []
    for term in filter(None, text.split(",")):
        field, operator, value = _split_term(term)
        if field not in _METADATA_FIELDS and field not in _FIELDS.get(resource, ()):
            if resource in _FIELDS:
                raise bad_request(f"field label not supported: {field}")
            offered = ", ".join(quoted(name) for name in _METADATA_FIELDS)
            raise bad_request(f"{quoted(field)} is not a known field selector: only {offered}")
        terms.append((field, value, operator != "!="))
    if not terms:
        return None
    return lambda obj: all((_field_value(obj, field) == value) is equal for field, value, equal in terms)


def _split_term(term: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        field, found, value = term.partition(operator)
        if found:
            return field, operator, value
    raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
