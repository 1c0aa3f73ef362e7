"""What all controllers are: a queue of names, and the way from a change to what is done about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from kubereach_lab.controllers.meta import Key, Object, name_of
from kubereach_lab.controllers.pods import available_in
from kubereach_lab.registry import Registry
from kubereach_lab.status import StatusError

log = logging.getLogger(__name__)

_RETRY = 0.5


class Controller:
    """Reconciles names as the objects that concern them change, one at a time, each as late as possible."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._queue: dict[Key, None] = {}
        self._wake = asyncio.Event()
        registry.subscribe(self._on_change)

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        """The (namespace, name) of what a change concerns."""
        raise TypeError(f"{type(self).__name__} says nothing of {verb} {resource} {new} {old}")

    def reconcile(self, namespace: str, name: str) -> None:
        """Make the world as this object's spec says, as far as one step goes."""
        raise TypeError(f"{type(self).__name__} cannot reconcile {namespace}/{name}")

    def _on_change(self, verb: str, resource: str, new: Object, old: Object | None) -> None:
        for key in self.keys(verb, resource, new, old):
            self.enqueue(key)

    def enqueue(self, key: Key) -> None:
        self._queue[key] = None
        self._wake.set()

    def enqueue_later(self, key: Key, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.enqueue, key)

    def availability(self, owner: Object, pods: list[Object]) -> tuple[int, int]:
        """(pods that are ready, those of them for minReadySeconds); the owner is looked at again when one more is."""
        waits = [available_in(pod, owner["spec"].get("minReadySeconds", 0)) for pod in pods]
        soon = [wait for wait in waits if wait is not None and wait > 0]
        if soon:
            self.enqueue_later(name_of(owner), min(soon))
        return sum(wait is not None for wait in waits), sum(wait is not None and wait <= 0 for wait in waits)

    def write_status(self, resource: str, owner: Object, status: Object) -> None:
        """Replace an object's status."""
        self.registry.update(
            resource, *name_of(owner), lambda obj: obj.update(status=status), subresource="status"
        )

    async def run(self) -> None:
        """Reconcile for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.work()

    def work(self) -> None:
        """Reconcile what is queued now."""
        queue, self._queue = self._queue, {}
        for key in queue:
            try:
                self.reconcile(*key)
            except StatusError as error:
                # Somebody changed it meanwhile, or its namespace is going: look again.
                log.info("%s %s: %s", type(self).__name__, key, error)
                self.enqueue_later(key, _RETRY)
            except Exception:
                log.exception("%s %s", type(self).__name__, key)
                self.enqueue_later(key, _RETRY)
