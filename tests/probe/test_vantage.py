"""Vantages: a broken stream is never a verdict."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from backends import local_vantage
from odd_servers import unused_port

from kubereach.model.errors import CannotMeasure, Unsupported
from kubereach.probe import Series, Vantage, VantageGroup
from kubereach.probe.group import run_all
from kubereach.probe.pacing import TokenBucket
from kubereach.probe.streams import ProcessStream
from kubereach.probe.vantage import POD, OutsideVantage


def test_a_prober_that_dies_under_way(vantage):
    future = vantage.submit(Series("resolve", "localhost", count=3, spacing=0.5))
    vantage._prober.stream._process.kill()
    with pytest.raises(CannotMeasure, match="the stream to pod@one broke") as error:
        future.result(30)
    assert error.value.remedy
    assert vantage.run(Series("resolve", "localhost")).outcomes == {"ok": 1}  # a new stream for the next one


def test_a_series_whose_stream_breaks_is_made_anew(vantage):
    vantage.open()
    first = vantage._prober.stream._process
    threading.Timer(0.3, first.kill).start()
    result = vantage.run(Series("resolve", "localhost", count=4, spacing=0.2))
    assert result.outcomes == {"ok": 4}
    assert vantage._prober.stream._process is not first


def test_what_goes_on_while_something_changes_is_not_made_anew(serve, vantage):
    ongoing = vantage.begin(Series("http", "127.0.0.1", serve("a").ports["http"], count=1000, spacing=0.05))
    vantage._prober.stream._process.kill()
    with pytest.raises(CannotMeasure, match="the stream to pod@one broke"):
        ongoing.stop()


def test_a_program_that_is_no_prober(multiplexer, context):
    command = [sys.executable, "-c", "import sys; sys.exit('no peer here')"]
    broken = Vantage(POD, "one", lambda: ProcessStream(command), multiplexer, context)
    with pytest.raises(CannotMeasure, match="no peer here"):
        broken.open()


def test_many_vantages_at_the_same_time(multiplexer, context):
    group = VantageGroup([local_vantage(multiplexer, context, node=name) for name in "abc"])
    group.open()
    series = Series("http", "127.0.0.1", unused_port(), spacing=0.2, count=3)
    begun = time.monotonic()
    results = run_all([(vantage, series) for vantage in group])
    assert [result.outcomes for result in results] == [{"refused": 3}] * 3
    assert time.monotonic() - begun < sum(result.seconds for result in results)
    assert [vantage.name for vantage in group] == ["pod@a", "pod@b", "pod@c"]
    assert group.on("b").node == "b"
    with pytest.raises(CannotMeasure):
        group.on("d")


def test_a_group_that_the_cluster_does_not_allow():
    with pytest.raises(Unsupported, match="hostNetwork"):
        list(VantageGroup((), "pods with hostNetwork are not allowed"))


def test_second_opinion(serve, multiplexer, context):
    outside = OutsideVantage("outside", "", lambda: None, multiplexer, context)
    assert outside.second_opinion(serve("a").address().url + "/who", 2) == ""
    assert "ConnectError" in outside.second_opinion(f"http://127.0.0.1:{unused_port()}/", 2)


def test_pacing():
    clock = [0.0]
    bucket = TokenBucket(interval=1.0, burst=5, clock=lambda: clock[0])
    assert [bucket.take() for _ in range(5)] == [0.0] * 5
    assert bucket.take() == pytest.approx(1.0)
    assert bucket.take(2) == pytest.approx(3.0)
    clock[0] = 3.0
    assert bucket.take() == pytest.approx(1.0)
    clock[0] = 100.0  # never more than the burst
    assert bucket.take(5) == 0.0
    assert bucket.take() == pytest.approx(1.0)


def test_pacing_counts_refusals_that_nobody_asked_for():
    clock = [0.0]
    bucket = TokenBucket(interval=1.0, burst=5, clock=lambda: clock[0])
    bucket.spent(4)
    assert bucket.take() == 0.0
    bucket.spent(100)  # the kernel had none left for them either
    assert bucket.take() == pytest.approx(1.0)
    bucket.spent(1)
    assert bucket.take() == pytest.approx(2.0)  # what was promised to others stays promised
    clock[0] = 100.0
    bucket.empty()
    assert bucket.take(2) == pytest.approx(2.0)
