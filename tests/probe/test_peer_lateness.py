"""How late timers fire, on both sides; and losses where no kernel counts them."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time

import pytest
from backends import NONCE

from kubereach.model import outcome
from kubereach.model.outcome import SeriesResult
from kubereach.probe import Series
from kubereach.probe.peer import exchange, lateness, series, sockets
from kubereach.probe.peer.identity import backend_lateness
from kubereach.probe.peer.prober import Prober
from kubereach.probe.peer.protocol import SLOW_CONNECT
from kubereach.probe.peer.server import Server


def stop_for(process, seconds):
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


def process_of(vantage):
    """The process of a vantage's prober."""
    return vantage._prober.stream._process


def series_to(backend, kind="http", **more):
    return Series(kind, "127.0.0.1", backend.ports[kind], nonce=NONCE, **more)


@pytest.mark.parametrize("kind", ["http", "tcp", "udp"])
def test_a_prober_tells_how_late_its_own_timers_were(serve, vantage, kind):
    backend = serve("a")
    vantage.run(series_to(backend, kind))
    future = vantage.submit(series_to(backend, kind, count=40, in_flight=1, spacing=0.02))
    time.sleep(0.2)
    stop_for(process_of(vantage), 0.6)
    result = future.result(60)
    assert 0.4 < result.late < 5
    # one tick of about twenty: neither is it the rule
    assert 0 <= result.late_p99 <= result.late


def test_a_prober_tells_of_its_lateness_while_a_flow_runs(serve, vantage):
    port = serve("a").ports["tcp"]
    series = Series("flow", "127.0.0.1", port, 1000, spacing=0.05, nonce=NONCE, more={"transport": "tcp"})
    ongoing = vantage.begin(series)
    stop_for(process_of(vantage), 0.6)
    assert 0.4 < ongoing.stop().late < 5


def test_a_backend_tells_how_late_its_own_timers_were(serve, vantage):
    backend = serve("a")
    future = vantage.submit(series_to(backend, count=60, in_flight=1, spacing=0.02, timeout=2))
    time.sleep(0.3)
    stop_for(backend.process, 0.6)
    assert 0.4 < future.result(60).backend_late < 5


def test_lateness_of_before_a_series_is_not_its_own(serve, vantage):
    backend = serve("a")
    vantage.run(series_to(backend))
    stop_for(process_of(vantage), 0.6)
    assert vantage.run(series_to(backend)).late < 0.4


def test_a_miss_tells_by_how_much_the_prober_was_late_while_it_was_under_way(vantage):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        series = Series(
            "udp", "127.0.0.1", silent.getsockname()[1], count=2, in_flight=1, timeout=0.5, nonce=NONCE
        )
        future = vantage.submit(series)
        time.sleep(0.2)
        stop_for(process_of(vantage), 0.7)
        first, second = future.result(60).probes
    assert first.answer.outcome == second.answer.outcome == "timeout"
    assert 0.5 < first.late < 5
    assert second.late < first.late


def test_an_idle_prober_has_no_ticks():
    """A prober without a series does not wake up."""
    answers = []
    prober = Prober(answers.append)
    assert prober.timer.due == lateness.NEVER
    prober.submit({"id": 1, "kind": "http", "host": "127.0.0.1", "port": 1, "nonce": NONCE})
    assert prober.timer.due < lateness.NEVER
    while prober.timer.due < lateness.NEVER:
        prober.step()
    assert answers


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_idle_backend_measures_nothing(monkeypatch):
    monkeypatch.setattr(lateness, "QUIET", 2 * lateness.TICK)
    measured = []
    monkeypatch.setattr(lateness.Watch, "note", lambda *_: measured.append(1))
    server = Server("a", "", NONCE)
    port = server.listen("http", 0, "127.0.0.1")
    threading.Thread(target=server.run, daemon=True).start()
    until(lambda: server.watch.idle)
    assert not measured
    with socket.create_connection(("127.0.0.1", port)):
        until(lambda: measured)
        until(lambda: server.watch.idle)
        before = len(measured)
        time.sleep(4 * lateness.TICK)
        assert len(measured) == before


def test_what_a_backend_tells_is_forgotten_after_a_while():
    server = Server("a", "", NONCE)
    told = []
    for late, now in ((0.01, 1.0), (0.5, 2.0), (0.3, 3.0), (0.01, 11.0), (0.01, 12.5)):
        server.watch.note(late, now)
        told.append(json.loads(server.identity.answer(("127.0.0.1", 1), 80)).get("late"))
    assert told == [None, 0.5, 0.5, 0.5, None]


def test_lateness_is_measured_from_when_the_timer_was_up():
    timer = lateness.Timer()
    timer.due = 100.0
    assert timer.late(100.3) == pytest.approx(0.3)
    for _ in range(99):
        assert timer.late(100.01) == pytest.approx(0.01)
    assert timer.p99() == pytest.approx(0.01)


@pytest.mark.parametrize("late", ['"x"', "-1", "true", "null", "1e99", "[]", "NaN"])
def test_what_a_backend_cannot_mean_is_no_lateness(late):
    assert backend_lateness({"late": json.loads(late)}) == 0.0


def test_the_worst_lateness_of_several_series_counts():
    whole = SeriesResult((), 1.0, late=0.1, backend_late=0.5) + SeriesResult((), 1.0, late=0.3, timed=True)
    assert (whole.late, whole.backend_late, whole.timed, whole.seconds) == (0.3, 0.5, True, 2.0)


# --- where the kernel counts no retransmissions


def probed(monkeypatch, backend, delay):
    """A connection to `backend` that took `delay` seconds to be made, by a prober that is not on Linux."""
    for module in (sockets, exchange):
        monkeypatch.setattr(module, "LINUX", False)
    answers = []
    prober = Prober(answers.append)
    start = series.Attempt.__init__

    def earlier(attempt, series):
        start(attempt, series)
        attempt.begun -= delay

    monkeypatch.setattr(series.Attempt, "__init__", earlier)
    prober.submit({
        "id": 1, "kind": "http", "host": "127.0.0.1", "port": backend.ports["http"],
        "retransmits": True, "timeout": 5, "nonce": NONCE, "count": 2, "stop_after": 1, "in_flight": 1,
    })  # fmt: skip
    while not answers:
        prober.step()
    return SeriesResult.from_peer(json.loads(answers[0]))


def test_off_linux_a_slow_connection_has_lost_a_packet(serve, monkeypatch):
    result = probed(monkeypatch, serve("a"), SLOW_CONNECT + 0.1)
    assert [(probe.answer.outcome, probe.retransmits) for probe in result.probes] == [
        ("ok", 1)
    ]  # and it stopped
    assert "connecting took more than 0.9 s" in result.how_counted


def test_what_is_told_of_a_slow_connection_is_what_was_measured():
    """The prober's own program imports nothing of the model, so that each says it."""
    assert outcome.SLOW_CONNECT == SLOW_CONNECT


def test_off_linux_a_quick_connection_has_lost_none(serve, monkeypatch):
    result = probed(monkeypatch, serve("a"), 0.0)
    assert [(probe.answer.outcome, probe.retransmits) for probe in result.probes] == [("ok", 0)] * 2
    assert result.timed


def test_on_linux_the_kernel_counts(serve, vantage):
    result = vantage.run(series_to(serve("a"), retransmits=True))
    assert not result.timed
    assert result.how_counted == "counted by the kernel"
