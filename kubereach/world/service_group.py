"""Several Services that differ in nothing but their names: what is left to chance is tried on all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from typing import TypeVar, overload

from kubereach.kube.client import Object
from kubereach.model.convergence import ENDPOINTS
from kubereach.world.service import Service

_Result = TypeVar("_Result")


class ServiceGroup(Sequence[Service]):
    """What `World.create_group` gives. They select the same pods, so that one change of labels is one for all."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = tuple(services)

    def __len__(self) -> int:
        return len(self._services)

    @overload
    def __getitem__(self, index: int) -> Service: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Service, ...]: ...

    def __getitem__(self, index: int | slice) -> Service | tuple[Service, ...]:
        return self._services[index]

    def take_in(self, *pods: str) -> None:
        """Put pods into all of them, and wait until it is seen."""
        self._services[0].take_in(*pods)
        self._changed()

    def take_out(self, *pods: str) -> None:
        """Take pods out of all of them."""
        self._services[0].take_out(*pods)
        self._changed()

    def _changed(self) -> None:
        for service in self._services:
            service.changed(ENDPOINTS)

    def patch(self, change: Object) -> None:
        """Change all of them by a merge patch."""
        for service in self._services:
            service.patch(change)

    @property
    def endpoints(self) -> frozenset[str]:
        """Names of the pods that must serve."""
        return self._services[0].endpoints


@contextmanager
def entered(blocks: Sequence[AbstractContextManager[Service]]) -> Iterator[list[Service]]:
    """Begin and end many blocks, several at the same time: service proxies then take them in fewer steps."""
    with ThreadPoolExecutor(8) as pool:

        def start(work: Callable[[], _Result]) -> Future[_Result]:
            # in our context, so that what they tell is told of the check that is running
            return pool.submit(copy_context().run, work)

        begun = [(block, start(block.__enter__)) for block in blocks]
        try:
            yield [future.result() for _, future in begun]
        finally:
            ended = [
                start(lambda block=block: block.__exit__(None, None, None))  # type: ignore[misc]
                for block, future in begun
                if not future.exception()
            ]
            for end in ended:
                end.result()
