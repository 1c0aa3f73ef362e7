"""Columns of nodes, namespaces and what is kept in them."""

from __future__ import annotations

from typing import Any

from kubereach_lab.kubectl.columns.cells import (
    AGE,
    NAME,
    NONE,
    Column,
    Printer,
    age,
    condition,
    joined,
    since,
)
from kubereach_lab.status import Object


def _node(node: Object) -> list[Any]:
    metadata, status = node["metadata"], node.get("status") or {}
    words = ["Ready" if condition(status, "Ready") == "True" else "NotReady"]
    if node["spec"].get("unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key[len(prefix) :] for key in metadata.get("labels") or {} if key.startswith(prefix))
    addresses: dict[str, str] = {}
    for address in status.get("addresses") or ():
        addresses.setdefault(address["type"], address["address"])  # of two InternalIPs the first
    info = status.get("nodeInfo") or {}
    kernel = info.get("kernelVersion", "<unknown>")
    if architecture := info.get("architecture"):
        kernel = f"{kernel} ({architecture})"
    return [
        metadata["name"],
        ",".join(words),
        joined(roles),
        age(node),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage", "<unknown>"),
        kernel,
        info.get("containerRuntimeVersion", "<unknown>"),
    ]


def _event(obj: Object) -> list[Any]:
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent", "")
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    last_seen = since(last) if count == 1 else f"{since(last)} (x{count} over {since(first)})"
    return [
        last_seen,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        f"{component}, {source['host']}" if source.get("host") else component,
        (obj.get("message") or obj.get("note", "")).strip(),
        since(first),
        count,
        obj["metadata"]["name"],
    ]


def _lease(obj: Object) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("spec") or {}).get("holderIdentity", ""), age(obj)]


COLUMNS: dict[str, Printer] = {
    "nodes": Printer(
        (
            NAME,
            Column("Status"),
            Column("Roles"),
            AGE,
            Column("Version"),
            Column("Internal-IP", priority=1),
            Column("External-IP", priority=1),
            Column("OS-Image", priority=1),
            Column("Kernel-Version", priority=1),
            Column("Container-Runtime", priority=1),
        ),
        _node,
    ),
    "namespaces": Printer(
        (NAME, Column("Status"), AGE),
        lambda obj: [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), age(obj)],
    ),
    "configmaps": Printer(
        (NAME, Column("Data"), AGE),
        lambda obj: [
            obj["metadata"]["name"],
            len(obj.get("data") or {}) + len(obj.get("binaryData") or {}),
            age(obj),
        ],
    ),
    "secrets": Printer(
        (NAME, Column("Type"), Column("Data"), AGE),
        lambda obj: [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data") or {}), age(obj)],
    ),
    "serviceaccounts": Printer((NAME, AGE), lambda obj: [obj["metadata"]["name"], age(obj)]),
    "events": Printer(
        (
            Column("Last Seen"),
            Column("Type"),
            Column("Reason"),
            Column("Object"),
            Column("Subobject", priority=1),
            Column("Source", priority=1),
            Column("Message"),
            Column("First Seen", priority=1),
            Column("Count", priority=1),
            Column("Name", format="name", priority=1),
        ),
        _event,
    ),
    "leases": Printer((NAME, Column("Holder"), AGE), _lease),
}
