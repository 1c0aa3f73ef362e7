"""Flows that must end, requests that must be spread, and protocols that a kernel may lack."""

from __future__ import annotations

import threading
import time

import pytest
from test_expect import failures
from test_expect_changes import Relay

from kubereach.expect import expect
from kubereach.model.errors import Unsupported
from kubereach.model.events import Note


def test_a_flow_that_has_ended(serve, vantage):
    relay = Relay(serve("a").ports["udp"])
    with expect(vantage).flow(relay.address) as flow:
        time.sleep(0.2)
        relay.port = None
        flow.must_have_ended()


def test_a_flow_may_end_a_little_later(serve, vantage):
    relay = Relay(serve("a").ports["udp"])
    with expect(vantage).flow(relay.address, every=0.02) as flow:
        threading.Timer(0.5, lambda: setattr(relay, "port", None)).start()
        flow.must_have_ended()


@pytest.fixture
def impatient(vantage):
    vantage.context.settings = vantage.context.settings.overridden(["flow_end_deadline=0.3"])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("every", [1, 2])
def test_a_flow_that_goes_on_is_a_failure(serve, vantage, every):
    vantage.context.settings = vantage.context.settings.overridden(["udp_timeout=0.1"])
    relay = Relay(serve("a").ports["udp"], every)

    def change():
        with expect(vantage).flow(relay.address) as flow:
            time.sleep(0.2)
            flow.must_have_ended()

    (failure,) = failures(change)
    assert failure.got == "still answered by a"


def test_a_flow_that_never_was_has_not_ended(vantage):
    relay = Relay(None)

    def change():
        with expect(vantage).flow(relay.address) as flow:
            flow.must_have_ended()

    vantage.context.settings = vantage.context.settings.overridden(["udp_timeout=0.1"])
    (failure,) = failures(change)
    assert failure.expected == "answers before the change"


def test_a_fair_spread_is_told(serve, vantage, events):
    expect(vantage).to_be_balanced(serve("a").address(), backends={"a"}, count=50)
    (told,) = [event for event in events if isinstance(event, Note)]
    assert told.text == "50 requests over 1 endpoints: a 50"


def test_an_endpoint_without_its_share_is_a_failure(serve, vantage):
    address = serve("a").address()
    (failure,) = failures(lambda: expect(vantage).to_be_balanced(address, backends={"a", "b"}))
    assert "50% of 200 requests for each of 2 endpoints" in failure.expected
    assert failure.got in ("a got 100%", "b got 0%")


def test_a_backend_without_sctp_is_unsupported(vantage):
    with pytest.raises(Unsupported) as caught:
        expect(vantage).to_speak_sctp(9)
    assert caught.value.feature == "sctp"
