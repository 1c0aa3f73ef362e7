"""What the API serves: versions, groups, resources, health. Plain lists and the aggregated form (KEP-3352)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from kubereach_lab.api.bodies import Representation
from kubereach_lab.config import LabConfig
from kubereach_lab.resources import Resource, Subresource, groups
from kubereach_lab.status import Object

#: the checks that ``/readyz?verbose`` names; the lab has no others
_CHECKS = ("ping", "log", "informer-sync")


def version(config: LabConfig) -> Object:
    major, minor = config.version.removeprefix("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": config.version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


def health(path: str, query: Mapping[str, str]) -> str:
    """The text of /healthz, /livez and /readyz."""
    if "verbose" not in query:
        return "ok"
    return "".join(f"[+]{check} ok\n" for check in _CHECKS) + f"{path.strip('/')} check passed\n"


def legacy_versions(config: LabConfig) -> Object:
    """``/api``"""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": config.api_host}],
    }


def group(minor: int, name: str) -> Object | None:
    """``/apis/<group>``, or None."""
    versions = groups(minor).get(name)
    if not name or versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def _group(name: str, versions: Mapping[str, Any]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(minor: int) -> Object:
    """``/apis``"""
    listed = [_group(name, versions) for name, versions in groups(minor).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def resource_list(minor: int, group_name: str, version_name: str) -> Object | None:
    """``/api/v1`` or ``/apis/<group>/<version>``, or None."""
    resources = groups(minor).get(group_name, {}).get(version_name)
    if resources is None:
        return None
    entries: list[Object] = []
    for resource in resources:
        entries.append(_resource(resource))
        entries += [_subresource(resource, sub) for sub in resource.subresources]
    body: Object = {
        "kind": "APIResourceList",
        "groupVersion": f"{group_name}/{version_name}" if group_name else version_name,
        "resources": entries,
    }
    if group_name:
        body["apiVersion"] = "v1"
    return body


def _resource(resource: Resource) -> Object:
    entry: Object = {
        "name": resource.name,
        "singularName": resource.singular_name,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    entry |= _other_names(resource)
    if "watch" in resource.verbs:
        entry["storageVersionHash"] = _storage_hash(resource)
    return entry


def _other_names(resource: Resource) -> Object:
    """Under which further names clients may ask for a resource, where there are any."""
    found = {"shortNames": list(resource.short_names), "categories": list(resource.categories)}
    return {key: names for key, names in found.items() if names}


def _storage_hash(resource: Resource) -> str:
    """Tells in which version objects are stored (KEP-2339): both forms of Events as those of the core group."""
    group = "" if resource.kind == "Event" else resource.group
    digest = hashlib.sha256(f"{group}/{resource.version}/{resource.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _subresource(resource: Resource, sub: Subresource) -> Object:
    entry: Object = {
        "name": f"{resource.name}/{sub.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if sub.group:
        entry["group"], entry["version"] = sub.group, sub.version
    return {**entry, "kind": sub.kind, "verbs": list(sub.verbs)}


def aggregated(minor: int, form: Representation, *, core: bool) -> Object:
    """``/api`` or ``/apis`` with everything below it in one answer."""
    items = [
        {
            "metadata": {"name": name} if name else {},
            "versions": [
                {
                    "version": version_name,
                    "resources": [_aggregated(resource) for resource in resources],
                    "freshness": "Current",
                }
                for version_name, resources in versions.items()
            ],
        }
        for name, versions in groups(minor).items()
        if (name == "") == core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{form.version}",
        "metadata": {},
        "items": items,
    }


def _aggregated(resource: Resource) -> Object:
    entry: Object = {
        "resource": resource.name,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular_name,
        "verbs": list(resource.verbs),
    }
    entry |= _other_names(resource)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": sub.group or resource.group,
                    "version": sub.version or resource.version,
                    "kind": sub.kind,
                },
                "verbs": list(sub.verbs),
            }
            for sub in resource.subresources
        ]
    return entry


def root_paths(minor: int) -> Object:
    """``/``"""
    paths = [
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    for name, versions in groups(minor).items():
        if name:
            paths += [f"/apis/{name}", *(f"/apis/{name}/{version_name}" for version_name in versions)]
    return {"paths": sorted(paths)}
