"""The specification of a pod, in a Pod or in a workload's template: defaults and what is refused.

Sources: pkg/apis/core/v1/defaults.go and pkg/apis/core/validation of Kubernetes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from kubereach_lab.defaults import names
from kubereach_lab.quantities import canonical, quantity
from kubereach_lab.status import (
    Cause,
    Object,
    duplicate,
    forbidden_field,
    invalid_value,
    required,
    unsupported_value,
)

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DEFAULT_MODE = 0o644


def containers(spec: Object) -> Iterator[tuple[str, Object]]:
    """Every container with its path below spec."""
    for kind in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(kind) or ()):
            yield f"{kind}[{i}]", container


def set_defaults(spec: Object) -> None:
    """Fills in what was left out, in place."""
    for volume in spec.get("volumes") or ():
        _volume_defaults(volume)
    for _, container in containers(spec):
        _container_defaults(container, host_network=bool(spec.get("hostNetwork")))
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key) is False:
            del spec[key]
    for key in ("hostname", "subdomain", "nodeName", "serviceAccountName"):
        if spec.get(key) == "":
            del spec[key]
    spec.setdefault("restartPolicy", "Always")
    grace = spec.setdefault("terminationGracePeriodSeconds", 30)
    if isinstance(grace, int) and grace < 0:
        spec["terminationGracePeriodSeconds"] = 1
    spec.setdefault("dnsPolicy", "ClusterFirst")
    if account := spec.get("serviceAccountName"):
        spec["serviceAccount"] = account
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")


def _volume_defaults(volume: Object) -> None:
    for kind in ("configMap", "secret", "projected", "downwardAPI"):
        if kind in volume:
            volume[kind].setdefault("defaultMode", _DEFAULT_MODE)
    items = list(volume.get("downwardAPI", {}).get("items") or ())
    for source in volume.get("projected", {}).get("sources") or ():
        items += source.get("downwardAPI", {}).get("items") or ()
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    for item in items:
        if "fieldRef" in item:
            item["fieldRef"].setdefault("apiVersion", "v1")
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if len(volume) == 1:
        volume["emptyDir"] = {}


def _container_defaults(container: Object, *, host_network: bool) -> None:
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if host_network and "containerPort" in port:
            port.setdefault("hostPort", port["containerPort"])
    for variable in container.get("env") or ():
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if field is not None:
            field.setdefault("apiVersion", "v1")
        if variable.get("value") == "":
            del variable["value"]
    resources = container.setdefault("resources", {})
    for kind in ("limits", "requests"):
        for name, text in (resources.get(kind) or {}).items():
            with contextlib.suppress(ValueError):  # refused later
                resources[kind][name] = canonical(text)
    for name, limit in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, limit)
    for kind in _PROBES:
        if probe := container.get(kind):
            _probe_defaults(probe)
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict) and "httpGet" in handler:
            _http_defaults(handler["httpGet"])
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if "imagePullPolicy" not in container:
        image = container.get("image", "")
        _, _, tag = image.rpartition("/")[2].partition(":")
        latest = "@" not in image and tag in ("", "latest")
        container["imagePullPolicy"] = "Always" if latest and image else "IfNotPresent"


def _probe_defaults(probe: Object) -> None:
    if "httpGet" in probe:
        _http_defaults(probe["httpGet"])
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")
    for key, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(key):
            probe[key] = value
    if probe.get("initialDelaySeconds") == 0:
        del probe["initialDelaySeconds"]


def _http_defaults(request: Object) -> None:
    request.setdefault("path", "/")
    request.setdefault("scheme", "HTTP")


def validate(spec: Object, path: str) -> list[Cause]:
    """What is wrong with the specification; `path` is where it is, ``spec`` or ``spec.template.spec``."""
    causes: list[Cause] = []
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    if not spec.get("containers"):
        causes.append(required(f"{path}.containers"))
    if spec.get("ephemeralContainers"):
        causes.append(forbidden_field(f"{path}.ephemeralContainers", "cannot be set on create"))
    seen: set[str] = set()
    for where, container in containers(spec):
        causes += _check_container(container, f"{path}.{where}", volumes)
        name = container.get("name", "")
        if name in seen:
            causes.append(duplicate(f"{path}.{where}.name", name))
        seen.add(name)
    if spec["restartPolicy"] not in _RESTART_POLICIES:
        causes.append(
            unsupported_value(f"{path}.restartPolicy", spec["restartPolicy"], _RESTART_POLICIES, ordered=True)
        )
    if spec["dnsPolicy"] not in _DNS_POLICIES:
        causes.append(unsupported_value(f"{path}.dnsPolicy", spec["dnsPolicy"], _DNS_POLICIES, ordered=True))
    causes += _check_dns(spec, path)
    for key in ("hostname", "subdomain"):
        if value := spec.get(key):
            problems = names.service_name_problems(value)
            causes += [invalid_value(f"{path}.{key}", value, text) for text in problems]
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        causes += names.check_ip(alias.get("ip", ""), f"{path}.hostAliases[{i}].ip")
    return causes


def _check_dns(spec: Object, path: str) -> list[Cause]:
    config = spec.get("dnsConfig")
    if spec["dnsPolicy"] == "None":
        if config is None:
            text = "must provide `dnsConfig` when `dnsPolicy` is None"
            return [required(f"{path}.dnsConfig", text)]
        if not config.get("nameservers"):
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{path}.dnsConfig.nameservers", text)]
    causes: list[Cause] = []
    for i, server in enumerate((config or {}).get("nameservers") or ()):
        causes += names.check_ip(server, f"{path}.dnsConfig.nameservers[{i}]")
    return causes


def _check_container(container: Object, path: str, volumes: set[Any]) -> list[Cause]:
    causes: list[Cause] = []
    name = container.get("name", "")
    if not name:
        causes.append(required(f"{path}.name"))
    else:
        causes += [invalid_value(f"{path}.name", name, text) for text in names.label_problems(name)]
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    if container["imagePullPolicy"] not in _PULL_POLICIES:
        policy = container["imagePullPolicy"]
        causes.append(unsupported_value(f"{path}.imagePullPolicy", policy, _PULL_POLICIES))
    seen: set[str] = set()
    for i, port in enumerate(container.get("ports") or ()):
        where = f"{path}.ports[{i}]"
        if port_name := port.get("name"):
            problems = names.port_name_problems(port_name)
            causes += [invalid_value(f"{where}.name", port_name, text) for text in problems]
            if port_name in seen:
                causes.append(duplicate(f"{where}.name", port_name))
            seen.add(port_name)
        number = port.get("containerPort")
        if not number:
            causes.append(required(f"{where}.containerPort"))
        elif not 1 <= number <= 65535:
            text = "must be between 1 and 65535, inclusive"
            causes.append(invalid_value(f"{where}.containerPort", number, text))
        if port["protocol"] not in ("TCP", "UDP", "SCTP"):
            causes.append(unsupported_value(f"{where}.protocol", port["protocol"], ("TCP", "UDP", "SCTP")))
    causes += _check_resources(container.get("resources") or {}, f"{path}.resources")
    for kind in _PROBES:
        if (probe := container.get(kind)) is not None:
            causes += _check_probe(probe, f"{path}.{kind}")
    for i, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            where = f"{path}.volumeMounts[{i}].name"
            causes.append(Cause(where, "FieldValueNotFound", f'Not found: "{mount.get("name", "")}"'))
        if not mount.get("mountPath"):
            causes.append(required(f"{path}.volumeMounts[{i}].mountPath"))
    return causes


def _check_resources(resources: Object, path: str) -> list[Cause]:
    causes: list[Cause] = []
    amounts: dict[str, dict[str, Fraction]] = {"limits": {}, "requests": {}}
    for kind, known in amounts.items():
        for name, text in (resources.get(kind) or {}).items():
            try:
                known[name] = quantity(text)
            except ValueError:
                why = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                causes.append(invalid_value(f"{path}.{kind}[{name}]", text, why))
                continue
            if known[name] < 0:
                why = "must be greater than or equal to 0"
                causes.append(invalid_value(f"{path}.{kind}[{name}]", text, why))
    for name, amount in amounts["requests"].items():
        if name in amounts["limits"] and amount > amounts["limits"][name]:
            why = f"must be less than or equal to {name} limit of {resources['limits'][name]}"
            causes.append(invalid_value(f"{path}.requests", resources["requests"][name], why))
    return causes


def _check_probe(probe: Object, path: str) -> list[Cause]:
    causes: list[Cause] = []
    handlers = [kind for kind in _HANDLERS if probe.get(kind) is not None]
    if not handlers:
        causes.append(required(path, "must specify a handler type"))
    for kind in handlers[1:]:
        causes.append(forbidden_field(f"{path}.{kind}", "may not specify more than 1 handler type"))
    for key in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        seconds = probe.get(key, 0)
        if isinstance(seconds, int) and seconds < 0:
            causes.append(invalid_value(f"{path}.{key}", seconds, "must be greater than or equal to 0"))
    if not path.endswith("readinessProbe") and probe.get("successThreshold", 1) != 1:
        causes.append(invalid_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))
    return causes


def qos_class(spec: Object) -> str:
    """BestEffort, Burstable or Guaranteed, by requests and limits of CPU and memory."""
    best_effort, guaranteed = True, True
    for _, container in containers(spec):
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            if requests.get(name) or limits.get(name):
                best_effort = False
            if not limits.get(name) or requests.get(name) != limits.get(name):
                guaranteed = False
    if best_effort:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
