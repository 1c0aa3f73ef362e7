"""How long to hold, how often, and what a path may miss before it has settled."""

from __future__ import annotations

import itertools
import math
import random
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from backends import local_vantage
from test_expect import balancer, failures

from kubereach.expect import expect, hold, hold_length
from kubereach.expect.hold import held, spent
from kubereach.model.convergence import CHANGED, ConvergenceDeadline
from kubereach.model.errors import CannotMeasure
from kubereach.model.events import Note
from kubereach.model.outcome import OK, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.model.settings import Settings
from kubereach.probe import VantageGroup
from kubereach.probe.context import Answered
from kubereach.probe.vantage import NODE

# --- the arithmetic


def test_all_attempts_together_overlook_no_more_than_one():
    settings = Settings()
    lengths = [hold_length(settings, miss=spent(settings, again)) for again in range(100)]
    assert lengths == sorted(lengths)
    assert sum((1 - settings.loss) ** length for length in lengths) < settings.loss_miss
    # a path that settles at once is hardly held longer than one that had settled before
    assert lengths[0] - hold_length(settings) <= 3


@pytest.mark.parametrize("again", [0, 1], ids=["held at first", "after a whole series"])
def test_a_path_that_loses_packets_is_overlooked_no_more_often_than_promised(monkeypatch, again):
    """Simulated: packets are lost at random, and the path may be held again forty times before it has settled."""
    settings = Settings(loss=0.05, loss_miss=0.02)
    chance, now, trials = random.Random(7), itertools.count(), 5000
    monkeypatch.setattr(hold.time, "monotonic", lambda: next(now))

    def series(length):
        """As a series of so many probes would end: by the first that is lost, which is the n-th by chance."""
        lost = math.log(1 - chance.random()) / math.log(1 - settings.loss) < length
        return SeriesResult((Probe(Answer(TIMEOUT if lost else OK), 0.0),), 0.0)

    def run(paths, number):
        return [series(hold_length(settings, miss=spent(settings, number))) for _ in paths]

    def missed(path):
        return "" if set(path.result.outcomes) == {OK} else "1 time-out"

    overlooked = 0
    for _ in range(trials):
        path, settled = SimpleNamespace(result=None, flap=None), next(now) + 40
        held([path], run, missed, lambda _: [], lambda _, at=settled: at, lambda _: False, tried=again)
        overlooked += not missed(path)
    # three standard deviations above what is promised
    assert overlooked / trials <= settings.loss_miss + 3 * (settings.loss_miss / trials) ** 0.5


# --- before a path has settled, and after


def settling(address, seconds):
    return replace(address, settled=ConvergenceDeadline.after(CHANGED, seconds))


def test_an_older_owner_of_an_address_may_answer_until_the_path_has_settled(serve, vantage, events):
    """A balancer whose first connections still go to the pods of who had the address before."""
    old, new = serve("old"), serve("new")
    address = settling(balancer(*[new] * 30, *[old] * 5, *[new] * 2000), 10)
    expect(vantage).to_reach(address, backends={"new"})
    (told,) = [event.text for event in events if isinstance(event, Note)]
    assert "also answers from old before it settled" in told


def test_an_older_owner_that_goes_on_to_answer_fails(serve, vantage):
    old, new = serve("old"), serve("new")
    address = settling(balancer(*[new] * 30, *[old] * 2), 1)
    (failure,) = failures(lambda: expect(vantage).to_reach(address, backends={"new"}))
    assert failure.got == "also answers from old"


# --- a path that answered before a change


@pytest.fixture
def younger(serve, vantage):
    """What makes a younger Service: it counts how often, and answers from backend `younger`."""
    backend = serve("younger")
    made = []

    @contextmanager
    def make(node_port, _):
        made.append(node_port)
        yield settling(made_address[0] or backend.address(), 2), 0

    made_address = [None]
    vantage.context.younger = make
    return SimpleNamespace(made=made, address=made_address)


def test_what_answered_before_a_change_needs_a_younger_service(serve, vantage, younger):
    address = serve("a").address()
    expect(vantage).to_reach(address, backends={"a"})
    expect(vantage).to_reach(settling(address, 2), backends={"a"})
    assert younger.made == [False]


def test_what_nobody_has_reached_before_the_change_needs_none(serve, vantage, younger):
    changed = settling(serve("a").address(), 2)
    expect(vantage).to_reach(changed, backends={"a"})
    # and nothing has changed since
    expect(vantage).to_reach(changed, backends={"a"})
    assert not younger.made


def test_what_others_answered_before_needs_none(serve, vantage, younger):
    address = serve("a").address()
    before = Answered(time.monotonic(), frozenset({"b"}))
    vantage.context.answered["pod@one", "http", address.host, address.port] = before
    expect(vantage).to_reach(settling(address, 2), backends={"a"})
    assert not younger.made


def test_a_change_that_no_younger_service_follows_could_not_be_measured(serve, vantage, younger, multiplexer):
    address = serve("a").address()
    closed = socket.socket()  # bound, so that nobody else gets its port, and nobody listens
    closed.bind(("127.0.0.1", 0))
    younger.address[0] = replace(address, port=closed.getsockname()[1])
    both = VantageGroup([vantage, local_vantage(multiplexer, vantage.context, NODE)])
    expect(both).to_reach(address)
    with pytest.raises(
        CannotMeasure, match=r"pod@one does not reach a Service that was created after .*: refused"
    ):
        expect(both).to_reach(settling(address, 2))
    closed.close()


def test_a_change_that_is_obeyed_late_is_seen(serve, vantage):
    """The old state answers on for a moment, then nothing does: without the barrier the hold might be over by then."""
    backend = serve("a")
    expect(vantage).to_reach(backend.address(), backends={"a"})
    slow = backend.address()

    @contextmanager
    def make(*_):
        # the younger Service answers once the change is obeyed, which takes the older one away
        threading.Timer(0.0, backend.process.kill).start()
        backend.process.wait()
        yield settling(serve("late").address(), 2), 0

    vantage.context.younger = make
    (failure,) = failures(lambda: expect(vantage).to_reach(settling(slow, 1), backends={"a"}))
    assert "refused" in failure.got
