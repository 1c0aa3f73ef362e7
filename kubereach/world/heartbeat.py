"""What killed runs left behind, and how a living run keeps its own things from being taken for that.

No clock of a machine that runs kubereach counts. A run is dead if the API server itself says that it was last heard of
long ago (the time of the last change, as the server wrote it, against the server's Date), or, where a server keeps no
such times, if its annotation does not change while we look for longer than its period: as leader election does.
Source: https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from kubereach.kube.client import Api, ApiError, Object, path_of
from kubereach.model.errors import CannotMeasure
from kubereach.world.manifests import MANAGED_BY

#: annotation of a run's namespaces, or of its ConfigMaps in given ones: renewed while the run lives. Its value is only
#: compared with what it was before
RENEWED = "kubereach.io/renewed"
#: seconds between two renewals; and without one, by the server's clock, until a run is dead
INTERVAL, DEAD = 20.0, 120.0
#: seconds of looking at an annotation that does not change, where the server's clock says nothing
LOOK = 65.0

NAMESPACES = path_of(("v1", "Namespace"))


def is_kept(obj: Object) -> bool:
    """Whether the run that made the object has left it for a look at it: see `release`."""
    return renewal_of(obj) is None


def renewal_of(obj: Object) -> str | None:
    """The annotation of a living run; None without it."""
    value = (obj["metadata"].get("annotations") or {}).get(RENEWED)
    return None if value is None else str(value)


def silence(obj: Object, now: float | None) -> float | None:
    """Seconds since a run was last heard of, both ends by the server's clock; None where it does not say.

    `now` is the server's time. An entry's time is changed with the value of any of its fields. Source:
    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
    """
    times = []
    for entry in obj["metadata"].get("managedFields") or ():
        fields = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:annotations") or {}
        if f"f:{RENEWED}" in fields and entry.get("time"):
            times.append(datetime.fromisoformat(str(entry["time"]).replace("Z", "+00:00")).timestamp())
    return None if now is None or not times else now - max(times)


def dead(
    objects: Mapping[str, Object],
    now: float | None,
    again: Callable[[], Mapping[str, Object]],
    wait: Callable[[float], object] = time.sleep,
) -> set[str]:
    """Which of `objects`, by key, are of runs that have died. Those that were kept are not.

    Where the server's clock does not tell, `wait` is called with seconds and `again` for the objects as they are then.
    """
    found, unknown = set[str](), dict[str, Object]()
    for key, obj in objects.items():
        if is_kept(obj):
            continue
        seconds = silence(obj, now)
        if seconds is None:
            unknown[key] = obj
        elif seconds > DEAD:
            found.add(key)
    until = time.monotonic() + LOOK
    while unknown and (left := until - time.monotonic()) > 0:
        if wait(min(left, INTERVAL / 2)):
            return found  # somebody has no time for more
        now_there = again()
        unknown = {
            key: obj
            for key, obj in unknown.items()
            if key in now_there and renewal_of(now_there[key]) == renewal_of(obj)
        }
    return found | unknown.keys()


class Leftovers:
    """Begins to delete the namespaces of runs that have died; nobody waits for it. `stop` ends the looking."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        if found := self._there():
            self._thread = threading.Thread(
                target=self._remove, args=(found,), name="kubereach-leftovers", daemon=True
            )
            self._thread.start()

    def _there(self) -> dict[str, Object]:
        """The namespaces of all runs that have not been kept, by name."""
        found = self._api.items(NAMESPACES, labelSelector=f"{MANAGED_BY}=kubereach")
        return {
            str(one["metadata"]["name"]): one
            for one in found
            if not is_kept(one) and not one["metadata"].get("deletionTimestamp")
        }

    def _remove(self, found: dict[str, Object]) -> None:
        try:
            for name in dead(found, self._api.server_time, self._there, self._stopped.wait):
                self._api.delete(f"{NAMESPACES}/{name}")
        except (ApiError, CannotMeasure):
            return  # they are no affair of this run; `kubereach clean` says what is wrong with them

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(5)


def release(api: Api, paths: Sequence[str]) -> None:
    """Take the renewal away from what is to stay: nobody renews it, and nobody shall miss it."""
    for path in paths:
        api.patch(path, {"metadata": {"annotations": {RENEWED: None}}})


class Renewal:
    """Renews the annotation of what says that a run lives, from a thread of its own until `stop`."""

    def __init__(self, api: Api, paths: Sequence[str]) -> None:
        self._api = api
        self._paths = paths
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubereach-renewal", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            for path in self._paths:
                try:
                    self._api.patch(path, renewed())
                except (ApiError, CannotMeasure):
                    # the run itself notices when the API is gone; until DEAD is over nothing is lost
                    break

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(5)


def renewed() -> Object:
    """The metadata that says: alive now."""
    return {"metadata": {"annotations": {RENEWED: str(time.time_ns())}}}
