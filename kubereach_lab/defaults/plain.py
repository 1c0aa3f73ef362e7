"""The kinds with little behaviour: EndpointSlices, Endpoints, ConfigMaps, Secrets, policies, Ingresses."""

from __future__ import annotations

import base64
import re

from kubereach_lab.defaults import names
from kubereach_lab.defaults.strategy import Strategy
from kubereach_lab.status import (
    Cause,
    Object,
    duplicate,
    forbidden_field,
    invalid_value,
    required,
    unsupported_value,
)


class EndpointSliceStrategy(Strategy):
    """EndpointSlices (KEP-752): ports default to TCP and no name, endpoints to ready."""

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        for port in new.get("ports") or ():
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")
        for endpoint in new.get("endpoints") or ():
            endpoint.setdefault("conditions", {})
        for key in ("endpoints", "ports"):
            new[key] = new.get(key) or None  # both are sent, empty ones as null

    def validate(self, new: Object, old: Object | None) -> list[Cause]:
        family = new.get("addressType", "")
        known = ("IPv4", "IPv6", "FQDN")
        if not family:
            return [required("addressType")]
        if family not in known:
            return [unsupported_value("addressType", family, known)]
        if old is not None and old["addressType"] != family:
            return [invalid_value("addressType", family, "field is immutable")]
        causes: list[Cause] = []
        for i, endpoint in enumerate(new["endpoints"] or ()):
            causes += _check_endpoint(endpoint, family, f"endpoints[{i}]")
        seen: set[str] = set()
        for i, port in enumerate(new["ports"] or ()):
            if port["name"] in seen:
                causes.append(duplicate(f"ports[{i}].name", port["name"]))
            seen.add(port["name"])
        return causes


def _check_endpoint(endpoint: Object, family: str, field: str) -> list[Cause]:
    addresses = endpoint.get("addresses") or ()
    causes: list[Cause] = []
    if not addresses:
        causes.append(required(f"{field}.addresses", "must contain at least 1 address"))
    for i, address in enumerate(addresses):
        if family == "FQDN":
            continue
        found = names.check_ip(address, f"{field}.addresses[{i}]")
        if not found and (":" in address) != (family == "IPv6"):
            found = [invalid_value(f"{field}.addresses", address, f"must be an {family} address")]
        causes += found or names.check_ordinary_ip(address, f"{field}.addresses[{i}]")
    if hostname := endpoint.get("hostname"):
        problems = names.label_problems(hostname)
        causes += [invalid_value(f"{field}.hostname", hostname, text) for text in problems]
    return causes


class EndpointsStrategy(Strategy):
    """Endpoints, the older form; ports default to TCP."""

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        for subset in new.get("subsets") or ():
            for port in subset.get("ports") or ():
                port.setdefault("protocol", "TCP")

    def validate(self, new: Object, old: Object | None) -> list[Cause]:
        causes: list[Cause] = []
        for i, subset in enumerate(new.get("subsets") or ()):
            for key in ("addresses", "notReadyAddresses"):
                for j, address in enumerate(subset.get(key) or ()):
                    field = f"subsets[{i}].{key}[{j}].ip"
                    found = names.check_ip(address.get("ip", ""), field)
                    causes += found or names.check_ordinary_ip(address["ip"], field)
        return causes


class SecretStrategy(Strategy):
    """Secrets: stringData is write-only."""

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        for key, value in (new.pop("stringData", None) or {}).items():
            new.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()
        new.setdefault("type", "Opaque")

    def validate(self, new: Object, old: Object | None) -> list[Cause]:
        causes = _check_immutable(new, old, ("data",)) + _check_keys(new, "data")
        if new["type"] == "kubernetes.io/tls":
            data = new.get("data") or {}
            causes += [required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
        return causes


class ConfigMapStrategy(Strategy):
    """ConfigMaps: keys are file names, and an immutable one stays as it is."""

    def validate(self, new: Object, old: Object | None) -> list[Cause]:
        causes = _check_immutable(new, old, ("data", "binaryData"))
        for field in ("data", "binaryData"):
            causes += _check_keys(new, field)
        return causes


def _check_keys(obj: Object, field: str) -> list[Cause]:
    text = (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
        "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )
    return [
        invalid_value(f"{field}[{key}]", key, text)
        for key in obj.get(field) or {}
        if not re.fullmatch(r"[-._a-zA-Z0-9]+", key)
    ]


def _check_immutable(new: Object, old: Object | None, fields: tuple[str, ...]) -> list[Cause]:
    if old is None or not old.get("immutable"):
        return []
    text = "field is immutable when `immutable` is set"
    found = [] if new.get("immutable") else [forbidden_field("immutable", text)]
    return found + [forbidden_field(field, text) for field in fields if new.get(field) != old.get(field)]


class EventStrategy(Strategy):
    """Events: fields that are always sent, in the namespace of what they are about."""

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        new.setdefault("eventTime", None)
        new.setdefault("reportingComponent", "")
        new.setdefault("reportingInstance", "")


class NetworkPolicyStrategy(Strategy):
    """NetworkPolicies: which directions they isolate follows from their rules, and ports default to TCP."""

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        spec = new.setdefault("spec", {})
        spec.setdefault("podSelector", {})
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
        for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
            for port in rule.get("ports") or ():
                port.setdefault("protocol", "TCP")


class IngressStrategy(Strategy):
    """Ingresses."""

    def initial_status(self, new: Object) -> None:
        new["status"] = {"loadBalancer": {}}


class DisruptionBudgetStrategy(Strategy):
    """PodDisruptionBudgets: nothing may be evicted before the controller has counted."""

    def initial_status(self, new: Object) -> None:
        new["status"] = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}


STRATEGIES: dict[str, type[Strategy]] = {
    "configmaps": ConfigMapStrategy,
    "events": EventStrategy,
    "endpointslices": EndpointSliceStrategy,
    "endpoints": EndpointsStrategy,
    "secrets": SecretStrategy,
    "networkpolicies": NetworkPolicyStrategy,
    "ingresses": IngressStrategy,
    "poddisruptionbudgets": DisruptionBudgetStrategy,
}
