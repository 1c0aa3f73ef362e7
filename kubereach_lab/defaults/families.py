"""The IP families of a Service: which it has, by its policy and by what the cluster has; how they may change.

Sources: KEP-563, https://kubernetes.io/docs/concepts/services-networking/dual-stack/, initIPFamilyFields of
pkg/registry/core/service/storage/alloc.go and ValidateServiceClusterIPsRelatedFields of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubereach_lab.defaults import names
from kubereach_lab.status import Cause, Object, duplicate, invalid_value, unsupported_value

_FAMILIES = ("IPv4", "IPv6")
_SINGLE, _PREFER, _REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"


def family_of(address: str) -> str:
    """The family of an address as the API spells it: IPv4 or IPv6."""
    return "IPv6" if ":" in address else "IPv4"


def check_families(spec: Object) -> list[Cause]:
    """What is wrong with clusterIPs, ipFamilies and ipFamilyPolicy in themselves, whatever the cluster has."""
    addresses, families = spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    if not spec.get("clusterIP"):
        if addresses:
            text = "must be empty when `clusterIP` is not specified"
            return [invalid_value("spec.clusterIPs", addresses, text)]
    elif addresses and addresses[0] != spec["clusterIP"]:
        return [invalid_value("spec.clusterIPs", addresses, "first value must match `clusterIP`")]
    causes: list[Cause] = []
    for i, family in enumerate(families):
        if family not in _FAMILIES:
            causes.append(unsupported_value(f"spec.ipFamilies[{i}]", family, _FAMILIES))
        if family in families[:i]:
            causes.append(duplicate(f"spec.ipFamilies[{i}]", family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in (_SINGLE, _PREFER, _REQUIRE):
        causes.append(unsupported_value("spec.ipFamilyPolicy", policy, (_SINGLE, _PREFER, _REQUIRE)))
    return causes + _check_addresses(addresses, families)


def _check_addresses(addresses: list[str], families: list[str]) -> list[Cause]:
    path = "spec.clusterIPs"
    causes: list[Cause] = []
    if addresses[:1] == ["None"]:
        if len(addresses) > 1:
            causes.append(invalid_value(path, addresses, "'None' must be the first and only value"))
        return causes
    for i, address in enumerate(addresses):
        causes += names.check_ip(address, f"{path}[{i}]")
    malformed = bool(causes)
    if len(addresses) > 2:
        causes.append(invalid_value(path, addresses, "may only hold up to 2 values"))
    if malformed:  # of what is no address, no family can be told
        return causes
    if len(addresses) > 1 and [family_of(a) for a in addresses] not in (["IPv4", "IPv6"], ["IPv6", "IPv4"]):
        causes.append(invalid_value(path, addresses, "may specify no more than one IP for each IP family"))
    for i, (address, family) in enumerate(zip(addresses, families, strict=False)):
        if family in _FAMILIES and family != family_of(address):
            text = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
            causes.append(invalid_value(f"{path}[{i}]", address, text))
    return causes


def check_changes(spec: Object, old: Object) -> list[Cause]:
    """What is wrong with a change of cluster IPs and families.

    The second ones may be added and given up; the first ones stay, but for a change from or to ExternalName.
    """
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return []
    headless, was_headless = (s.get("clusterIPs") == ["None"] for s in (spec, old))
    causes: list[Cause] = []
    if not (headless and was_headless):
        causes += _check_change(spec, old, "clusterIPs", "clusterIP")
    if not headless and not was_headless:
        causes += _check_change(spec, old, "ipFamilies", "ipFamily")
    return causes


def _check_change(spec: Object, old: Object, field: str, one: str) -> list[Cause]:
    before, now = old.get(field) or [], spec.get(field) or []
    addresses = field == "clusterIPs"
    causes: list[Cause] = []
    if len(before) == len(now):
        for i in range(len(now)):
            if before[i] != now[i]:
                where = i if addresses else 0  # the server always names the first family
                causes.append(invalid_value(f"spec.{field}[{where}]", now, "may not change once set"))
        return causes
    if not now and addresses:
        causes.append(invalid_value("spec.clusterIPs[0]", now, "primary clusterIP can not be unset"))
    if now and before and now[0] != before[0]:
        # for families too, the server shows the addresses here
        shown = spec.get("clusterIPs") or []
        causes.append(invalid_value(f"spec.{field}[0]", shown, "may not change once set"))
    if len(before) > len(now) == 1 and spec.get("ipFamilyPolicy") != _SINGLE:
        text = f"must be set to 'SingleStack' when releasing the secondary {one}"
        causes.append(invalid_value("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), text))
    return causes


def set_families(spec: Object, old: Object | None, available: Sequence[str]) -> list[Cause]:
    """Set ipFamilyPolicy and ipFamilies of a Service that has cluster IPs or is headless, in place.

    `old` is what it was before an update; `available` are the cluster's families, the primary one first. A second
    cluster IP that the Service gives up is removed; one that it has yet to get is not added.
    """
    if old is not None and _still_preferred(spec, old):
        return []
    free_choice = spec.get("clusterIP") == "None" and not spec.get("selector")
    default = _REQUIRE if free_choice else _SINGLE
    policy: str = spec.get("ipFamilyPolicy") or (old or {}).get("ipFamilyPolicy") or default
    spec["ipFamilyPolicy"] = policy
    causes = _give_up_second(spec, old) if old is not None else []
    if policy == _SINGLE:
        for field, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
            if len(spec.get(field) or ()) == 2:
                text = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                causes.append(invalid_value("spec.ipFamilyPolicy", policy, text))
    families: list[str] = list(spec.get("ipFamilies") or ())
    addresses = [address for address in spec.get("clusterIPs") or () if address != "None"]
    for i, address in enumerate(addresses[len(families) :], len(families)):
        if family_of(address) in available:
            families.append(family_of(address))
        else:
            text = f"{family_of(address)} is not configured on this cluster"
            causes.append(invalid_value(f"spec.clusterIPs[{i}]", addresses, text))
    if causes:
        return causes
    if not free_choice:
        causes = _unavailable(policy, families, available)
    if causes:
        return causes
    families = families or [available[0]]
    # A headless Service without a selector may have both anywhere: whoever writes its endpoints decides.
    if policy != _SINGLE and len(families) == 1 and (free_choice or len(available) == 2):
        families.append("IPv6" if families[0] == "IPv4" else "IPv4")
    spec["ipFamilies"] = families
    return []


def _still_preferred(spec: Object, old: Object) -> bool:
    """A Service with PreferDualStack is neither given a second address nor deprived of it by the way."""
    return spec.get("ipFamilyPolicy") == old.get("ipFamilyPolicy") == _PREFER and all(
        spec.get(field) == old.get(field) for field in ("type", "clusterIPs", "ipFamilies")
    )


def _give_up_second(spec: Object, old: Object) -> list[Cause]:
    causes: list[Cause] = []
    for field, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        before, now = old.get(field) or [], spec.get(field) or []
        if spec["ipFamilyPolicy"] == _SINGLE:
            if now == before and len(now) > 1:
                spec[field] = now[:1]
        elif 0 < len(now) < len(before):
            text = f"must be 'SingleStack' to release the secondary {what}"
            causes.append(invalid_value("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], text))
    return causes


def _unavailable(policy: str, families: list[str], available: Sequence[str]) -> list[Cause]:
    causes: list[Cause] = []
    if policy == _REQUIRE and len(available) < 2:
        text = "this cluster is not configured for dual-stack services"
        causes.append(invalid_value("spec.ipFamilyPolicy", policy, text))
    for i, family in enumerate(families):
        if family not in available:
            causes.append(invalid_value(f"spec.ipFamilies[{i}]", family, "not configured on this cluster"))
    return causes
