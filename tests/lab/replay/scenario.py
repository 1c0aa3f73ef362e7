"""What a scenario is: a recording and how to play it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .player import Player

Object = dict[str, Any]
#: the number of a step in its file, from 0, or its note
Step = int | str
RECORDINGS = Path(__file__).parents[1] / "recordings"


@dataclass(frozen=True)
class Part:
    """An answer of which the lab gives a part: nothing in it may differ, but there may be less."""

    #: what the lab leaves out, and why
    reason: str
    #: keys that are not compared, wherever they are; of a watch, types of events
    skipped: frozenset[str] = frozenset()
    #: texts are compared up to this
    cut: str = ""


@dataclass(frozen=True)
class Scenario:
    """A recording, and what is not in it."""

    #: the recording's file name without ``.json``
    name: str
    #: the namespace that it plays in, "" if none
    namespace: str = ""
    #: False for a scenario that makes the namespace itself
    makes_namespace: bool = True
    #: the scenario whose objects this one goes on with
    follows: Scenario | None = None
    #: node ports that a recorded client chose -> what is asked for instead. Those lie in the band that is given on
    #: request only (KEP-3668), so that none can have been allocated to another Service before
    ports: Mapping[int, int] = field(default_factory=dict)
    #: makes what the recording's namespace held at its beginning
    prepare: Callable[[Player], None] | None = None
    #: what was done before a step other than by the API's recorded requests
    before: Mapping[Step, Callable[[Player], None]] = field(default_factory=dict)
    #: steps that the lab answers otherwise on purpose -> why
    exceptions: Mapping[Step, str] = field(default_factory=dict)
    #: steps whose answer depends on who is first, so that they may agree or not -> between whom
    races: Mapping[Step, str] = field(default_factory=dict)
    #: steps whose answer is compared as far as the lab gives it
    parts: Mapping[Step, Part] = field(default_factory=dict)
    #: reads whose answer must be there at once
    at_once: frozenset[Step] = frozenset()
    #: reads that caught a state in passing: see `history`
    passing: frozenset[Step] = frozenset()
    #: a watch -> the step before which it was closed
    closes: Mapping[Step, Step] = field(default_factory=dict)

    @property
    def space(self) -> str:
        """The lab's namespace for it."""
        if self.follows is not None:
            return self.follows.space
        return f"{self.namespace}-{self.name}" if self.namespace else ""

    def steps(self) -> list[Object]:
        """The steps, told for the lab's namespace."""
        text = (RECORDINGS / f"{self.name}.json").read_text()
        if self.namespace:
            text = text.replace(self.namespace, self.space)
        steps: list[Object] = json.loads(text)["steps"]
        return steps

    def number(self, step: Step, steps: list[Object]) -> int:
        """The number of a step. Raises `LookupError` unless there is exactly one."""
        if isinstance(step, int):
            return step
        found = [number for number, one in enumerate(steps) if one.get("note") == step]
        if len(found) != 1:
            raise LookupError(f"{self.name}: {len(found)} steps have the note {step!r}")
        return found[0]


def label(number: int, step: Object) -> str:
    request = step["request"]
    return f"step {number} {request['method']} {request['path']} ({step.get('note', '')})"


def whole_events(events: list[Object]) -> list[Object]:
    """The events of a watch with whole objects, where the file has only what changed."""
    last: dict[str, Object] = {}
    whole = []
    for event in events:
        obj = event["object"] if "object" in event else merged(last[event["name"]], event["patch"])
        name = obj.get("metadata", {}).get("name", "")
        last[name] = obj
        whole.append({"type": event["type"], "object": obj})
    return whole


def merged(value: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), item)
    return result
