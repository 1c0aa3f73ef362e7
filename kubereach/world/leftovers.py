"""What killed runs left behind, and how a living run keeps its own things from being taken for that."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from kubereach.api import Api, ApiError, Object, path_of
from kubereach.errors import CannotMeasure
from kubereach.world.manifests import MANAGED_BY

#: annotation of a run's namespaces, or of its ConfigMaps in given ones: seconds since the epoch, renewed while the
#: run lives
RENEWED = "kubereach.io/renewed"
#: seconds between two renewals, and without one until a run is taken for dead (clocks may differ by a minute)
INTERVAL, DEAD = 20.0, 120.0

NAMESPACES = path_of(("v1", "Namespace"))


def remove_leftovers(api: Api) -> list[str]:
    """Begin to delete the namespaces of runs that have died; gives their names. Does not wait until they are gone."""
    removed = []
    for namespace in api.items(NAMESPACES, labelSelector=f"{MANAGED_BY}=kubereach"):
        name = namespace["metadata"]["name"]
        if is_dead(namespace, time.time()) and not namespace["metadata"].get("deletionTimestamp"):
            api.delete(f"{NAMESPACES}/{name}")
            removed.append(name)
    return removed


def is_dead(namespace: Object, now: float) -> bool:
    """Whether the run that made the namespace has stopped renewing it. Kept ones carry no renewal and stay."""
    renewed = (namespace["metadata"].get("annotations") or {}).get(RENEWED, "")
    try:
        return now - float(renewed) > DEAD
    except ValueError:
        return False


def is_kept(namespace: Object) -> bool:
    """Whether the run that made the namespace has left it for a look at it: see `release`."""
    return RENEWED not in (namespace["metadata"].get("annotations") or {})


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
    return {"metadata": {"annotations": {RENEWED: str(int(time.time()))}}}
