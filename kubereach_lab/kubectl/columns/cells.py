"""What rows of all kinds are made of: columns, printers, and the words of their cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from kubereach_lab.selectors import selector_text
from kubereach_lab.status import Object

NONE = "<none>"


@dataclass(frozen=True)
class Column:
    """A column; those of `priority` 1 are shown by ``-o wide`` only."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def as_dict(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": self.priority,
        }


@dataclass(frozen=True)
class Printer:
    columns: tuple[Column, ...]
    row: Callable[[Object], list[Any]]
    #: what a row says beside its cells, such as that the object is complete
    conditions: Callable[[Object], list[Object]] = lambda _: []


NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", description="CreationTimestamp is a timestamp representing the server time.")
TEMPLATE = (Column("Containers", priority=1), Column("Images", priority=1))
SELECTOR = Column("Selector", priority=1)


def human_duration(seconds: float) -> str:
    """A duration as kubectl prints ages: ``5s``, ``3m20s``, ``2d4h`` (k8s.io/apimachinery util/duration)."""
    if seconds < -1:
        return "<invalid>"
    total = max(0, int(seconds))
    if total < 120:
        return f"{total}s"
    minutes = total // 60
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = total // 3600
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return f"{years}y{days % 365}d" if days % 365 else f"{years}y"
    return f"{years}y"


def since(stamp: str | None) -> str:
    if not stamp:
        return "<unknown>"
    moment = datetime.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return human_duration((datetime.now(timezone.utc) - moment).total_seconds())


def took(start: str | None, end: str | None) -> str:
    """The time between two, or since the first."""
    if not start or not end:
        return since(start) if start else ""
    moments = [datetime.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S") for stamp in (start, end)]
    return human_duration((moments[1] - moments[0]).total_seconds())


def age(obj: Object) -> str:
    return since(obj["metadata"].get("creationTimestamp"))


def joined(items: Iterable[str]) -> str:
    return ",".join(items) or NONE


def selector_cell(selector: Any) -> str:
    return selector_text(selector or {}) or NONE


def container_cells(obj: Object) -> list[str]:
    containers = obj["spec"]["template"]["spec"].get("containers") or []
    return [",".join(c["name"] for c in containers), ",".join(c.get("image", "") for c in containers)]


def shortened(items: list[str], most: int) -> str:
    more = len(items) - most
    return ",".join(items[:most]) + (f" + {more} more..." if more > 0 else "")


def numbers(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, type="integer") for name in names)


def condition(status: Object, type: str) -> str:
    return next((c["status"] for c in status.get("conditions") or () if c["type"] == type), "Unknown")
