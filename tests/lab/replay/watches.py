"""Compares what a watch told with what was recorded.

The first and the last state of every object are compared whole. Between them, MODIFIED events may be merged or split,
so what is compared is the sequence of those parts of an object that tell a story: phase, conditions and containers of a
pod, each endpoint's conditions, the size and revision of a ReplicaSet. Equal states in a row are one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .compare import Pairs, differences, has_chosen_name

Object = dict[str, Any]
Event = dict[str, Any]


def watch_differences(recorded: list[Event], actual: list[Event], pairs: Pairs) -> Iterator[str]:
    """Where two watches differ; `pairs` learns on the way."""
    notices = [event for event in recorded if event["type"] in ("BOOKMARK", "ERROR")]
    seen = [event for event in actual if event["type"] in ("BOOKMARK", "ERROR")]
    yield from differences(notices, seen, pairs, ".notices")
    ours, theirs = list(_by_object(recorded).values()), list(_by_object(actual).values())
    for events in sorted(ours, key=lambda e: has_chosen_name(e[0]["object"])):
        candidates = [other for other in theirs if _may_be(events[0]["object"], other[0]["object"], pairs)]
        name = events[0]["object"]["metadata"]["name"]
        best: list[str] | None = None
        for other in candidates:
            trial = pairs.copy()
            wrong = list(_story_differences(events, other, trial, f"[{name}]"))
            if best is None or len(wrong) < len(best):
                best, learnt, chosen = wrong, trial, other
            if not wrong:
                break
        if best is None:
            told = [f"{e[0]['object']['metadata']['name']}: {[x['type'] for x in e]}" for e in theirs]
            yield f"[{name}]: nothing was told of it, recorded {[e['type'] for e in events]}; left: {told}"
            continue
        theirs.remove(chosen)
        pairs.lab, pairs.recorded = learnt.lab, learnt.recorded
        yield from best
    for other in theirs:
        types = [event["type"] for event in other]
        yield f"{other[0]['object']['metadata']['name']}: told {types}, recorded nothing"


def _by_object(events: list[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        if event["type"] not in ("BOOKMARK", "ERROR"):
            found.setdefault(event["object"]["metadata"]["uid"], []).append(event)
    return found


def _may_be(recorded: Object, actual: Object, pairs: Pairs) -> bool:
    uid, other = recorded["metadata"]["uid"], actual["metadata"]["uid"]
    if ("uid", uid) in pairs.lab or ("uid", other) in pairs.recorded:
        return pairs.lab.get(("uid", uid)) == other
    return not list(differences(recorded["metadata"]["name"], actual["metadata"]["name"], pairs.copy()))


def _story_differences(recorded: list[Event], actual: list[Event], pairs: Pairs, path: str) -> Iterator[str]:
    first = f"{path}.{recorded[0]['type']}"
    if recorded[0]["type"] != actual[0]["type"]:
        yield f"{path}: begins with {actual[0]['type']}, recorded {recorded[0]['type']}"
    yield from differences(recorded[0]["object"], actual[0]["object"], pairs, first)
    if recorded[-1]["type"] != actual[-1]["type"]:
        yield f"{path}: ends with {actual[-1]['type']}, recorded {recorded[-1]['type']}"
    last = f"{path}.last {recorded[-1]['type']}"
    yield from differences(recorded[-1]["object"], actual[-1]["object"], pairs, last)
    ours, theirs = _stories(recorded), _stories(actual)
    paired = {pairs.told(name): name for name in ours}
    for name in sorted(paired.keys() | theirs.keys()):
        told, written = theirs.get(name, []), ours.get(paired.get(name, ""), [])
        wrong = list(differences(written, told, pairs.copy(), f"{path}.story {name}"))
        if wrong:
            yield f"{path}.story {name}:\n{_lines(told)}\n        recorded\n{_lines(written)}"


def _lines(states: list[Any]) -> str:
    return "\n".join(f"          {json.dumps(state)}" for state in states)


def _stories(events: list[Event]) -> dict[str, list[Any]]:
    """The sequences of states, equal ones in a row being one; by the part of the object that they are of."""
    stories: dict[str, list[Any]] = {}
    for event in events:
        for name, state in _parts(event["object"]).items():
            story = stories.setdefault(name, [])
            if not story or story[-1] != state:
                story.append(state)
    return stories


def _parts(obj: Object) -> dict[str, Any]:
    kind, metadata, spec, status = (
        obj["kind"],
        obj["metadata"],
        obj.get("spec") or {},
        obj.get("status") or {},
    )
    life = {"deleting": "deletionTimestamp" in metadata, "finalizers": metadata.get("finalizers") or []}
    if kind == "Pod":
        containers = [
            [c["name"], c["ready"], {state: told.get("reason") for state, told in c["state"].items()}]
            for c in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        ]
        life |= {"grace": metadata.get("deletionGracePeriodSeconds"), "phase": status.get("phase")}
        return {"": {**life, "containers": containers, **_conditions(obj)}}
    if kind == "EndpointSlice":
        return {_who(e): e.get("conditions") for e in obj.get("endpoints") or []} | {
            "ports": obj.get("ports")
        }
    if kind == "Endpoints":
        lists = [
            (_who(address), which)
            for subset in obj.get("subsets") or []
            for which in ("addresses", "notReadyAddresses")
            for address in subset.get(which) or []
        ]
        return dict(lists)
    if kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"):
        # how many pods are counted in one step is a race among them
        annotations = metadata.get("annotations") or {}
        revision = annotations.get("deployment.kubernetes.io/revision")
        return {"": {**life, "replicas": spec.get("replicas"), "revision": revision, **_conditions(obj)}}
    if kind == "Namespace":
        return {"": {"phase": status.get("phase"), **_conditions(obj)}}
    return {"": {key: value for key, value in obj.items() if key != "metadata"} | life}


def _conditions(obj: Object) -> Object:
    found = (obj.get("status") or {}).get("conditions") or []
    return {"conditions": sorted([c["type"], c["status"], c.get("reason", "")] for c in found)}


def _who(endpoint: Object) -> str:
    target = endpoint.get("targetRef") or {}
    return str(target.get("name") or endpoint.get("ip") or endpoint["addresses"][0])
