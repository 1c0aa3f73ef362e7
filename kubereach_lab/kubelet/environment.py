"""A container's environment variables, and their use in its command.

Source: https://kubernetes.io/docs/tasks/inject-data-application/
"""

from __future__ import annotations

import base64
from typing import Any

from kubereach_lab.kubelet.volumes import field_value
from kubereach_lab.registry import Registry

Object = dict[str, Any]


class MissingReference(Exception):
    """A ConfigMap, Secret or key that the container needs does not exist; the text is the kubelet's words."""


def container_environment(
    registry: Registry, pod: Object, container: Object, base: dict[str, str]
) -> dict[str, str]:
    """`base`, then envFrom, then env, each seeing what came before it.

    Raises:
        MissingReference: something that is referred to, and not optional, does not exist.
    """
    namespace = pod["metadata"]["namespace"]
    environment = dict(base)
    for source in container.get("envFrom") or []:
        for kind, resource in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if kind in source:
                found = _data(registry, namespace, resource, source[kind])
                environment |= {source.get("prefix", "") + key: value for key, value in found.items()}
    for variable in container.get("env") or []:
        environment[variable["name"]] = _value(registry, pod, variable, environment)
    return environment


def _value(registry: Registry, pod: Object, variable: Object, environment: dict[str, str]) -> str:
    source = variable.get("valueFrom")
    if not source:
        return expand(variable.get("value", ""), environment)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"])
    for kind, resource in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if kind in source:
            reference, namespace = source[kind], pod["metadata"]["namespace"]
            data = _data(registry, namespace, resource, reference)
            if reference["key"] not in data and not reference.get("optional"):
                what = f"{resource[:-1]} {namespace}/{reference['name']}"
                raise MissingReference(f"couldn't find key {reference['key']} in {what}")
            return data.get(reference["key"], "")
    return ""


def _data(registry: Registry, namespace: str, resource: str, reference: Object) -> dict[str, str]:
    found = registry.find(resource, namespace, reference["name"])
    if found is None:
        if reference.get("optional"):
            return {}
        raise MissingReference(f'{resource[:-1]} "{reference["name"]}" not found')
    data = dict(found.get("data") or {})
    if resource == "secrets":
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
    return data


def expand(text: str, environment: dict[str, str]) -> str:
    """$(NAME) becomes the variable's value, $$ a dollar; unknown names stay."""
    out, rest = "", text
    while "$" in rest:
        before, _, rest = rest.partition("$")
        out += before
        if rest.startswith("$"):
            out, rest = out + "$", rest[1:]
        elif rest.startswith("(") and ")" in rest and (name := rest[1 : rest.index(")")]) in environment:
            out, rest = out + environment[name], rest[rest.index(")") + 1 :]
        else:
            out += "$"
    return out + rest
