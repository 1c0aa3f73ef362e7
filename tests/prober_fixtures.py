"""Fixtures of tests that probe: backends, a prober, what a run knows, a clock that only waits move."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from backends import _SERVE, NONCE, SECRET, Backend, local_vantage
from staged import Clock

from kubereach.model.events import Bus, Event
from kubereach.model.lateness import Lateness
from kubereach.model.outcome import SeriesResult
from kubereach.model.settings import Settings
from kubereach.probe import Vantage
from kubereach.probe.context import RunContext
from kubereach.probe.multiplexer import Multiplexer
from kubereach.probe.vantage import NODE


@pytest.fixture
def serve() -> Iterator[Callable[..., Backend]]:
    """Starts backends: ``serve("a")``, ``serve("a", nonce="another")``."""
    started: list[Backend] = []

    def start(pod: str, nonce: str = NONCE, ready: bool = True, secret: str = SECRET) -> Backend:
        code = _SERVE.format(pod=pod, nonce=nonce, ready=ready, secret=secret)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        ports = [int(word) for word in process.stdout.readline().split()]
        backend = Backend(pod, process, dict(zip(("http", "tcp", "udp"), ports, strict=True)))
        started.append(backend)
        return backend

    yield start
    for backend in started:
        backend.process.kill()
        backend.process.wait()
        assert backend.process.stdout is not None
        backend.process.stdout.close()


@pytest.fixture
def events() -> list[Event]:
    return []


class Punctual(Lateness):
    """Notes nothing: a test that loses answers on purpose means it, however busy its machine is."""

    def note(self, vantage: str, result: SeriesResult) -> None:
        pass


@pytest.fixture
def context(events: list[Event]) -> RunContext:
    """Settings with short time-outs, and a world that has settled."""
    bus = Bus()
    bus.subscribe(events.append)
    settings = Settings(
        connect_timeout=0.5, udp_timeout=0.3, dns_timeout=0.5, refusal_interval=0.05, resolve_hold=3
    )
    return RunContext(settings, bus, NONCE, SECRET, lateness=Punctual())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes only where it is waited for."""
    made = Clock(time.monotonic() + 1000)
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    monkeypatch.setattr(time, "sleep", made.sleep)
    return made


@pytest.fixture
def multiplexer() -> Iterator[Multiplexer]:
    made = Multiplexer()
    yield made
    made.stop()


@pytest.fixture
def vantage(multiplexer: Multiplexer, context: RunContext) -> Vantage:
    """A pod vantage whose pod is this machine."""
    return local_vantage(multiplexer, context)


@pytest.fixture
def node_vantage(multiplexer: Multiplexer, context: RunContext) -> Vantage:
    return local_vantage(multiplexer, context, NODE)
