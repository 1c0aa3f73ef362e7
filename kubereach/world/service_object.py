"""A Service's object as the API has it now: a handle is made once, the Service may change under it."""

from __future__ import annotations

from collections.abc import Callable

from kubereach.kube.client import Object
from kubereach.kube.watch_cache import WatchCache


class ServiceObject:
    """The object of one Service, by its uid: one of the same name that was made before or after is another."""

    def __init__(self, watch_cache: WatchCache, created: Object) -> None:
        self._watch_cache = watch_cache
        self._last = created

    @property
    def latest(self) -> Object:
        """The object as the API has it; as it last was, once it is gone."""
        return self._live() or self._last

    @property
    def name(self) -> str:
        return str(self._last["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self._last["metadata"]["namespace"])

    def _live(self) -> Object | None:
        meta = self._last["metadata"]
        found = self._watch_cache.get("Service", meta["namespace"], meta["name"])
        return found if found and found["metadata"]["uid"] == meta["uid"] else None

    def remember(self) -> Object:
        """Keep it as it is now, for when it has gone; gives it."""
        self._last = self.latest
        return self._last

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until a watch shows that `done()`; False: out of time. Raises `CannotMeasure` when the run ends."""
        return self._watch_cache.wait(done, seconds)

    def wait_until_shown(self, seconds: float) -> bool:
        """Wait until a watch shows it, right after it was made; False: out of time."""
        return self.wait(lambda: self._live() is not None, seconds)

    def wait_until_gone(self, seconds: float) -> bool:
        """Wait until a watch shows that it is deleted; False: out of time."""
        return self.wait(lambda: self._live() is None, seconds)
