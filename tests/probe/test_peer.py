"""The peer, end to end: real sockets on loopback, every outcome that can be had there."""

from __future__ import annotations

import base64
import errno
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import dns.message
import pytest
from backends import NONCE, SECRET
from odd_servers import Odd, close, dns_server, reset, unused_port

from kubereach.model.errors import CannotMeasure
from kubereach.probe import Series
from kubereach.probe.peer import flows, probes
from kubereach.probe.peer import series as requests
from kubereach.probe.peer.outcomes import outcome_of
from kubereach.probe.peer.prober import Prober
from kubereach.probe.peer.protocol import FIRST_LOST, NO_ADDRESS, PATIENCE, SECOND_LOST
from kubereach.probe.peer.resolver import libc, resends_after, resolver_options
from kubereach.probe.program import FOLDER


def outcome(vantage, kind, port, host="127.0.0.1", **more):
    secret = SECRET if kind == "ready" else ""
    series = Series(kind, host, port, timeout=more.pop("timeout", 0.4), nonce=NONCE, secret=secret, **more)
    result = vantage.run(series)
    return result.probes[0].answer


@pytest.mark.parametrize("kind", ["http", "tcp", "udp"])
def test_tells_who_answered_and_whom_it_saw(serve, vantage, kind):
    backend = serve("a")
    answer = outcome(vantage, kind, backend.ports[kind])
    assert (answer.outcome, answer.pod, answer.node, answer.nonce) == ("ok", "a", "node-of-a", NONCE)
    assert (answer.client, answer.local, answer.port) == ("127.0.0.1", "127.0.0.1", backend.ports[kind])


@pytest.mark.parametrize("kind", ["http", "tcp", "udp"])
def test_ipv6(serve, vantage, kind):
    backend = serve("a")
    answer = outcome(vantage, kind, backend.ports[kind], "::1")
    assert (answer.outcome, answer.client) == ("ok", "::1")


@pytest.mark.parametrize("kind", ["http", "tcp", "udp"])
def test_an_answer_with_another_nonce_is_foreign(serve, vantage, kind):
    assert outcome(vantage, kind, serve("a", nonce="another").ports[kind]).outcome == "foreign"


@pytest.mark.parametrize("kind", ["http", "tcp", "udp"])
def test_refused(vantage, kind):
    port = unused_port(socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    assert outcome(vantage, kind, port).outcome == "refused"


@pytest.mark.parametrize(
    ("treat", "word"),
    [
        (lambda _: None, "timeout"),
        (reset, "reset"),
        (close, "protocol"),
        (lambda connection: connection.sendall(b"SSH-2.0-x\r\n") or close(connection), "foreign"),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), "foreign"),
    ],
    ids=["silent", "resets", "closes", "other protocol", "other web server"],
)
def test_servers_that_misbehave(vantage, treat, word):
    assert outcome(vantage, "http", Odd(treat).port).outcome == word


def test_udp_without_an_answer_times_out(vantage):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        begun = time.monotonic()
        assert outcome(vantage, "udp", silent.getsockname()[1], timeout=0.3).outcome == "timeout"
        assert 0.3 <= time.monotonic() - begun < 5


def test_a_late_datagram_of_somebody_else_is_not_taken_for_the_answer(vantage):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as odd:
        odd.bind(("127.0.0.1", 0))

        def answer_twice():
            _, client = odd.recvfrom(1000)
            who = '{"pod":"%s","node":"","nonce":"%s","client":"x","port":1,"echo":"kubereach %s"}'
            odd.sendto((who % ("old", NONCE, "0.0")).encode(), client)

        threading.Thread(target=answer_twice, daemon=True).start()
        assert outcome(vantage, "udp", odd.getsockname()[1], timeout=0.3).outcome == "timeout"


@pytest.mark.parametrize(
    ("number", "word"),
    [(1, "denied"), (13, "denied"), (113, "unreachable"), (101, "unreachable"), (99, "local")],
)
def test_errno(number, word):
    assert outcome_of(number) == word


def test_unreachable_or_denied_by_our_own_kernel(vantage):
    # 240.0.0.0/4 cannot be routed to; what it gives depends on the machine's routes, but it is never an answer
    assert outcome(vantage, "http", 80, "255.255.255.255").outcome in (
        "unreachable",
        "denied",
        "timeout",
        "local",
    )


def test_names_are_resolved_once_for_a_series(serve, vantage):
    backend = serve("a")
    result = vantage.run(Series("http", "localhost", backend.ports["http"], count=20, nonce=NONCE))
    assert result.outcomes == {"ok": 20}


def test_a_name_that_does_not_resolve_is_one_probe(vantage):
    result = vantage.run(Series("http", "no-such-name.invalid", 80, count=20, timeout=5))
    assert len(result.probes) == 1
    assert result.probes[0].answer.outcome in ("nxdomain", "servfail", "timeout")


def test_a_resolver_that_hangs_is_one_time_out():
    """And the prober goes on as before: with a stand-in for the resolver, in this process."""
    answers = []
    prober = Prober(answers.append)
    asked = threading.Event()
    original, probes.resolve = probes.resolve, lambda *_: asked.wait(5) and ("servfail", [])
    try:
        prober.submit({"id": 1, "kind": "http", "host": "hangs.test", "port": 80, "count": 9, "timeout": 0.1})
        while not answers:
            prober.step()
    finally:
        probes.resolve = original
        asked.set()
    assert b'"rows":[["timeout"' in answers[0]
    assert b'"of":[0]' in answers[0]
    assert NO_ADDRESS.encode() in answers[0]
    assert prober.probes.count == 0


def test_a_resolver_that_asks_again_is_waited_for(serve, monkeypatch):
    """One lost question costs a resolver five seconds: that is no time-out of whoever goes by the name."""
    backend, answers = serve("a"), []
    prober = Prober(answers.append)
    never = threading.Event()
    monkeypatch.setattr(probes, "resolve", lambda *_: never.wait(1.5) or ("ok", ["127.0.0.1"]))
    request = {"id": 1, "kind": "http", "host": "slow.test", "port": backend.ports["http"], "nonce": NONCE}
    prober.submit({**request, "count": 3, "timeout": 1})
    while not answers:
        prober.step()
    told = json.loads(answers[0])
    assert {row[0] for row in told["rows"]} == {"ok"}
    assert len(told["of"]) == 3


def test_resolve(vantage):
    result = vantage.run(Series("resolve", "localhost", count=3, more={"family": 4}))
    assert [probe.answer.detail for probe in result.probes] == ["127.0.0.1"] * 3


def test_file(vantage):
    assert vantage.read_file("/proc/self/comm").startswith("python")
    with pytest.raises(CannotMeasure, match="cannot read /no/such"):
        vantage.read_file("/no/such")


def test_malformed_requests_are_answered(vantage):
    with pytest.raises(CannotMeasure, match="unknown kind: smoke"):
        vantage.run(Series("smoke", "127.0.0.1", 1))


# --- DNS


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("rcode", "records", "word"),
    [
        (0, ["a. 5 IN A 192.0.2.1"], "ok"),
        (0, [], "nodata"),
        (3, [], "nxdomain"),
        (2, [], "servfail"),
        (5, [], "protocol"),
    ],
)
def test_dns(vantage, transport, rcode, records, word):
    def answer(query):
        reply = dns.message.make_response(query)
        reply.set_rcode(rcode)
        reply.answer = [dns.rrset.from_text(*record.split()) for record in records]
        return reply.to_wire()

    message = base64.b64encode(dns.message.make_query("a.", "A").to_wire()).decode()
    more = {"message": message, "transport": transport}
    found = outcome(vantage, "dns", dns_server(answer), more=more)
    assert found.outcome == word
    assert dns.message.from_wire(base64.b64decode(found.detail)).rcode() == rcode


def pair(answers):
    """The series' fields of two queries of a name `answers`, whose ids are 1 and 2, and a server that answers them.

    `answers` are the ids of the answers that it gives, once both queries have come.
    """
    queries = [dns.message.make_query("a.", rdtype) for rdtype in ("A", "AAAA")]
    queries[0].id, queries[1].id = 1, 2
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve():
        received = [server.recvfrom(4096) for _ in queries]
        assert {client for _, client in received} == {received[0][1]}
        for number in answers:
            server.sendto(dns.message.make_response(queries[number - 1]).to_wire(), received[0][1])

    threading.Thread(target=serve, daemon=True).start()
    message, beside = (base64.b64encode(query.to_wire()).decode() for query in queries)
    return server.getsockname()[1], {"message": message, "beside": beside}


@pytest.mark.parametrize("answers", [(1, 2), (2, 1), (1, 1, 2), (2, 2, 1)])
def test_two_queries_from_one_port_are_both_answered(vantage, answers):
    port, more = pair(answers)
    found = outcome(vantage, "dns", port, more=more)
    assert found.outcome == "ok"
    assert [dns.message.from_wire(base64.b64decode(one)).id for one in found.detail.split()] == [1, 2]


@pytest.mark.parametrize(
    ("answers", "detail"), [((), ""), ((1,), SECOND_LOST), ((2,), FIRST_LOST), ((2, 2), FIRST_LOST)]
)
def test_one_answer_to_two_queries_is_none(vantage, answers, detail):
    port, more = pair(answers)
    found = outcome(vantage, "dns", port, more=more, timeout=0.3)
    assert (found.outcome, found.detail) == ("timeout", detail)


def test_a_pair_has_two_ids_and_goes_over_udp():
    one, other = (base64.b64encode(bytes([0, number]) + bytes(15)).decode() for number in (1, 2))
    request = {"id": 1, "kind": "dns", "host": "127.0.0.1", "message": one, "beside": other}
    assert requests.Series(request).prepare()
    for wrong in ({"transport": "tcp"}, {"beside": one}, {"beside": "AAAA"}):
        with pytest.raises(ValueError, match="a second question"):
            requests.Series({**request, **wrong}).prepare()


# --- series


def test_a_series_stops_after_misses(vantage):
    result = vantage.run(Series("http", "127.0.0.1", unused_port(), count=500, in_flight=2, stop_after=3))
    assert 3 <= len(result.probes) <= 4


def test_series_do_not_wait_for_one_another(serve, vantage):
    backend = serve("a")
    slow = vantage.submit(Series("tcp", "127.0.0.1", Odd(lambda _: None).port, timeout=1.0))
    assert vantage.run(Series("http", "127.0.0.1", backend.ports["http"], count=50)).outcomes == {"ok": 50}
    assert not slow.done()
    assert slow.result(30).outcomes == {"timeout": 1}


def test_spacing_and_delay(serve, vantage):
    backend = serve("a")
    begun = time.monotonic()
    vantage.run(Series("http", "127.0.0.1", backend.ports["http"], count=4, spacing=0.1, delay=0.2))
    assert 0.5 <= time.monotonic() - begun < 5


def test_in_flight_is_bounded_over_all_series(vantage):
    odd = Odd(lambda _: None)
    series = Series("tcp", "127.0.0.1", odd.port, count=20, in_flight=20, timeout=1.0)
    futures = [vantage.submit(series) for _ in range(2)]
    time.sleep(0.4)  # the first probes are under way, none is over
    assert len(odd.kept) == 16
    assert sum(len(future.result(30).probes) for future in futures) == 40


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO is Linux's")
def test_retransmissions_are_read_from_the_kernel(vantage):
    """A full accept queue drops the SYN; the kernel sends it again after a second and counts that."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = listener.getsockname()
    waiting = [socket.socket() for _ in range(2)]
    for sock in waiting:
        sock.setblocking(False)
        sock.connect_ex(address)
    time.sleep(0.05)  # the queue fills
    future = vantage.submit(Series("tcp", "127.0.0.1", address[1], timeout=3, retransmits=True))
    time.sleep(0.3)  # the first SYN has been dropped
    who = b'{"pod":"a","node":"","nonce":"","client":"","port":1,"echo":"%s"}\n'
    answered = 0
    while not future.done():
        listener.settimeout(3)
        connection, _ = listener.accept()
        connection.settimeout(0.05 if answered < 1 else 3)
        try:
            line = connection.recv(100)
        except TimeoutError:
            continue  # one of those that only wait
        if line:
            connection.sendall(who % line.strip())
            answered += 1
            future.result(3)
    probe = future.result(3).probes[0]
    assert probe.answer.outcome == "ok"
    assert probe.retransmits >= 1
    assert probe.seconds > 0.9
    for sock in waiting:
        sock.close()


# --- serving others


def get(url, data=None, headers=None):
    request = urllib.request.Request(url, data=data, headers=headers or {})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=3) as response:
        return response.status


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"kubereach-nonce": NONCE},  # which everybody is shown
        {"kubereach-secret": NONCE},
        {"kubereach-secret": ""},
        {"kubereach-secret": SECRET[:-1]},
        {"kubereach-secret": SECRET + "0"},
    ],
    ids=["nothing", "nonce", "nonce as the secret", "empty", "shorter", "longer"],
)
def test_nobody_changes_a_backend_without_the_secret(serve, headers):
    backend = serve("a")
    url = f"http://127.0.0.1:{backend.ports['http']}"
    for change in ("/ready?on=0", "/end"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(url + change, b"", headers)
    assert get(url + "/ready") == 200
    assert backend.process.poll() is None


def test_a_backend_without_a_secret_is_changed_by_nobody(serve):
    url = f"http://127.0.0.1:{serve('a', secret='').ports['http']}"
    for headers in ({}, {"kubereach-secret": ""}):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(url + "/ready?on=0", b"", headers)
    assert get(url + "/ready") == 200


def test_readiness_is_toggled_with_the_secret(serve):
    url = f"http://127.0.0.1:{serve('a').ports['http']}/ready"
    assert get(url) == 200
    get(url + "?on=0", b"", {"kubereach-secret": SECRET})
    with pytest.raises(urllib.error.HTTPError, match="503"):
        get(url)
    get(url + "?on=1", b"", {"kubereach-secret": SECRET})
    assert get(url) == 200


@pytest.mark.parametrize(
    ("c_library", "text", "seconds"),
    [
        ("glibc 2.36", "nameserver 10.96.0.10\noptions ndots:5\n", 5.0),
        ("glibc 2.36", "options timeout:2 attempts:3\noptions ndots:5\n", 2.0),
        ("glibc 2.36", "options timeout:1\noptions timeout:60", 30.0),
        ("glibc 2.36", "options timeout:0", 1.0),
        ("", "nameserver 10.96.0.10\noptions ndots:5\n", 2.5),
        ("", "options timeout:1 attempts:2", 0.5),
        ("", "options timeout:30 attempts:0", 30.0),
        ("", "", 2.5),
    ],
)
def test_when_a_resolver_sends_a_query_again(c_library, text, seconds):
    assert resends_after(c_library, text) == seconds


def test_the_greeting_says_when_the_resolver_sends_again(vantage):
    vantage.open()
    assert vantage.resends_after == resends_after(libc(), resolver_options())


def test_sigterm_ends_it_at_once():
    process = subprocess.Popen(
        [sys.executable, "-u", str(FOLDER), "probe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline().startswith(b'{"hello"')
    process.terminate()
    assert process.wait(30) == 0
    process.stdin.close()
    process.stdout.close()


def test_the_prober_ends_with_its_standard_input():
    process = subprocess.Popen(
        [sys.executable, "-u", str(FOLDER), "probe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()


def begin(vantage, kind, port, **more):
    series = Series(kind, "127.0.0.1", port, count=1000, nonce=NONCE, times=True, **more)
    return vantage.begin(series)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_flow_keeps_its_connection_until_it_is_stopped(serve, vantage, transport):
    backend = serve("a")
    ongoing = begin(vantage, "flow", backend.ports[transport], spacing=0.05, more={"transport": transport})
    time.sleep(0.2)
    result = ongoing.stop()
    assert set(result.outcomes) == {"ok"}
    assert 3 <= len(result.probes) <= 7
    assert [probe.at for probe in result.probes] == sorted(probe.at for probe in result.probes)


def test_an_idle_flow_pings_once_more_when_it_is_stopped(serve, vantage):
    ongoing = begin(vantage, "flow", serve("a").ports["tcp"], spacing=1000, more={"transport": "tcp"})
    time.sleep(0.1)
    assert ongoing.stop().outcomes == {"ok": 2}


def test_a_flow_ends_with_its_connection(serve, vantage):
    backend = serve("a")
    ongoing = begin(vantage, "flow", backend.ports["tcp"], spacing=0.05, more={"transport": "tcp"})
    backend.process.kill()
    backend.process.wait()
    time.sleep(0.2)
    result = ongoing.stop()
    assert result.probes[-1].answer.outcome in ("reset", "refused")
    assert result.outcomes["ok"] == len(result.probes) - 1 > 0


def test_a_udp_flow_goes_on_after_losses(vantage):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        ongoing = begin(
            vantage, "flow", silent.getsockname()[1], spacing=0.05, timeout=0.05, more={"transport": "udp"}
        )
        time.sleep(0.2)
        result = ongoing.stop()
    assert result.outcomes["timeout"] == len(result.probes) > 2


def test_continuous_probes_are_stopped(serve, vantage):
    ongoing = begin(vantage, "http", serve("a").ports["http"], spacing=0.01)
    time.sleep(0.2)
    result = ongoing.stop()
    assert set(result.outcomes) == {"ok"}
    assert 10 < len(result.probes) < 40


def test_what_is_over_can_be_stopped(serve, vantage):
    ongoing = vantage.begin(Series("http", "127.0.0.1", serve("a").ports["http"], nonce=NONCE))
    time.sleep(0.1)
    assert ongoing.stop().outcomes == {"ok": 1}


def test_a_series_that_misses_something_tells_its_source_ports(serve, vantage):
    seen = []
    odd = Odd(lambda connection: (seen.append(connection.getpeername()[1]), close(connection)))
    result = vantage.run(Series("http", "127.0.0.1", odd.port, count=5, in_flight=1, nonce=NONCE))
    assert [probe.port for probe in result.probes] == seen
    result = vantage.run(Series("http", "127.0.0.1", serve("a").ports["http"], count=5, nonce=NONCE))
    assert [probe.port for probe in result.probes] == [0] * 5


def test_transfer(serve, vantage):
    answer = outcome(
        vantage, "transfer", serve("a").ports["http"], timeout=5, more={"size": 1 << 22, "stall": 2}
    )
    assert (answer.outcome, answer.pod) == ("ok", "a")


def test_a_transfer_that_nobody_answers_says_so(vantage):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        answer = outcome(vantage, "transfer", port, timeout=5, more={"size": 1 << 24, "stall": 0.2})
    assert (answer.outcome, answer.pod) == ("timeout", "")
    assert "the first question stalled" in answer.detail


def test_a_transfer_that_stalls_says_where_and_with_whom(vantage):
    who = json.dumps({"pod": "a", "node": "n1", "nonce": NONCE, "client": "127.0.0.1", "port": 1}).encode()

    def introduce(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(who), who))

    answer = outcome(
        vantage, "transfer", Odd(introduce).port, timeout=5, more={"size": 1 << 24, "stall": 0.2}
    )
    assert (answer.outcome, answer.pod, answer.node) == ("timeout", "a", "n1")
    assert "the upload stalled after" in answer.detail


def test_two_uploads_over_one_connection(serve):
    with socket.create_connection(("127.0.0.1", serve("a").ports["http"])) as client:
        request = b"POST /bytes HTTP/1.1\r\nContent-Length: 3\r\n\r\n"
        client.sendall(request + b"abc" + request + b"ab")
        time.sleep(0.05)
        client.sendall(b"c")
        client.settimeout(30)
        data = b""
        while data.count(b'"digest"') < 2:
            data += client.recv(4096)
    digests = {part.split(b'"')[0] for part in data.split(b'"digest": "')[1:]}
    assert digests == {b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}


def test_a_datagram_of_any_size(serve, vantage):
    assert outcome(vantage, "udp", serve("a").ports["udp"], more={"size": 4000}).outcome == "ok"


def test_a_burst_is_not_bounded(serve, vantage):
    result = vantage.run(
        Series("http", "127.0.0.1", serve("a").ports["http"], 200, 200, nonce=NONCE, burst=True, times=True)
    )
    assert result.outcomes == {"ok": 200}
    assert max(probe.at for probe in result.probes) <= min(
        probe.at + probe.seconds for probe in result.probes
    )


def test_readiness_is_turned_by_the_prober_beside_the_backend(serve, vantage):
    backend = serve("a")
    url = f"http://127.0.0.1:{backend.ports['http']}/ready"
    assert outcome(vantage, "ready", backend.ports["http"], more={"on": False}).outcome == "ok"
    with pytest.raises(urllib.error.HTTPError):
        get(url)
    assert outcome(vantage, "ready", backend.ports["http"], more={"on": True}).outcome == "ok"
    assert get(url) == 200


def test_a_backend_ends_when_the_prober_beside_it_says_so(serve, vantage):
    backend = serve("a")
    port = backend.ports["http"]
    stranger = Series("ready", port=port, secret=NONCE, more={"end": True})
    assert vantage.run(stranger).probes[0].answer.detail == "HTTP/1.1 403 Forbidden"
    assert backend.process.poll() is None
    assert outcome(vantage, "ready", port, more={"end": True}).outcome == "ok"
    assert backend.process.wait(10) == 0


def test_a_backend_that_lingers_serves_on_after_sigterm():
    port = unused_port()
    command = [sys.executable, str(FOLDER), "serve", "--http", str(port), "--linger", "0.5"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        serves = False
        while not serves:
            with socket.socket() as client:
                serves = client.connect_ex(("127.0.0.1", port)) == 0
        begun = time.monotonic()
        process.terminate()
        assert process.wait(30) == 0
        assert time.monotonic() - begun >= 0.5


@pytest.mark.parametrize(
    ("pods", "least", "most"),
    [(["a"], 4, 8), (["b"], 12, 1000), ([], 12, 1000)],
)
def test_a_flow_ends_when_the_right_pod_has_answered_so_often(serve, vantage, pods, least, most):
    port = serve("a").ports["udp"]
    ongoing = begin(vantage, "flow", port, spacing=0.02, more={"transport": "udp"})
    ongoing.end_when(pods, 4, 0.4)
    assert least <= len(ongoing.result().probes) <= most


def test_a_flow_ends_when_nobody_has_answered_so_often(serve, vantage):
    backend = serve("a")
    ongoing = begin(
        vantage, "flow", backend.ports["udp"], spacing=0.02, timeout=0.05, more={"transport": "udp"}
    )
    backend.process.kill()
    backend.process.wait()
    ongoing.end_when([], 3, 60.0)
    words = [probe.answer.outcome for probe in ongoing.result().probes]
    assert words[0] == "ok"
    assert "ok" not in words[-3:]


def test_a_prober_that_could_not_run_gives_everybody_as_much_longer(serve, vantage):
    """Stopped for longer than the time-out, as on a machine that has something else to do, it loses no answer."""
    backend = serve("a")
    vantage.run(Series("http", "127.0.0.1", backend.ports["http"], nonce=NONCE))
    prober = vantage._prober.stream._process
    future = vantage.submit(
        Series("http", "127.0.0.1", backend.ports["http"], count=2000, timeout=0.3, nonce=NONCE)
    )
    for process in (prober, backend.process):
        process.send_signal(signal.SIGSTOP)
    time.sleep(0.6)
    prober.send_signal(signal.SIGCONT)
    backend.process.send_signal(signal.SIGCONT)
    assert future.result(60).outcomes == {"ok": 2000}


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_backend_that_could_not_run_is_waited_for(serve, vantage, kind):
    """Its kernel has acknowledged the question: the path has done its work, and the backend's turn comes late."""
    backend = serve("a")
    backend.process.send_signal(signal.SIGSTOP)
    future = vantage.submit(
        Series(kind, "127.0.0.1", backend.ports[kind], count=40, timeout=0.3, nonce=NONCE)
    )
    time.sleep(0.5)
    backend.process.send_signal(signal.SIGCONT)
    result = future.result(60)
    assert result.outcomes == {"ok": 40}
    assert max(probe.seconds for probe in result.probes) > 0.3


def test_a_flow_waits_for_a_backend_that_could_not_run(serve, vantage):
    backend = serve("a")
    ongoing = begin(
        vantage, "flow", backend.ports["tcp"], spacing=0.05, timeout=0.3, more={"transport": "tcp"}
    )
    backend.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    backend.process.send_signal(signal.SIGCONT)
    time.sleep(0.2)
    assert set(ongoing.stop().outcomes) == {"ok"}


def test_a_datagram_whose_answer_is_late_was_not_lost(serve, vantage):
    """Nobody acknowledges it, so that only the answer tells; one that could not run for a while still gives it."""
    backend = serve("a")
    for patient, outcomes in ((True, {"ok"}), (False, {"ok", "timeout"})):
        series = Series(
            "udp", "127.0.0.1", backend.ports["udp"], count=60, spacing=0.02, timeout=0.3, nonce=NONCE, patient=patient
        )  # fmt: skip
        future = vantage.submit(series)
        time.sleep(0.3)
        backend.process.send_signal(signal.SIGSTOP)
        time.sleep(0.6)
        backend.process.send_signal(signal.SIGCONT)
        assert set(future.result(60).outcomes) == outcomes


def test_datagrams_that_nobody_answers_are_not_waited_for_longer(vantage):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        (probe,) = vantage.run(Series("udp", "127.0.0.1", port, timeout=0.3, patient=True)).probes
    assert probe.answer.outcome == "timeout"
    assert probe.seconds < 0.6


def test_a_backend_is_not_waited_for_without_end(serve, vantage):
    backend = serve("a")
    backend.process.send_signal(signal.SIGSTOP)
    (probe,) = vantage.run(Series("http", "127.0.0.1", backend.ports["http"], timeout=0.2)).probes
    assert probe.answer.outcome == "timeout"
    assert 0.2 * PATIENCE <= probe.seconds < 0.2 * (PATIENCE + 1)


def test_who_wants_a_time_out_gets_it_in_time(serve, vantage):
    backend = serve("a")
    backend.process.send_signal(signal.SIGSTOP)
    series = Series("http", "127.0.0.1", backend.ports["http"], timeout=0.2, wanted=("timeout",))
    (probe,) = vantage.run(series).probes
    assert probe.answer.outcome == "timeout"
    assert probe.seconds < 0.4


def test_a_time_out_says_whether_there_was_a_connection(vantage):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert outcome(vantage, "http", port, timeout=0.1).detail == "connected"
        ongoing = begin(vantage, "flow", port, spacing=0.05, timeout=0.1, more={"transport": "tcp"})
        assert ongoing.stop().probes[-1].answer.detail == "connected"


def test_no_local_port_is_used_again_soon(vantage):
    """Not even that of a connection that has failed, which the kernel takes for free at once."""
    ports = []

    def note_and_reset(connection):
        ports.append(connection.getpeername()[1])
        reset(connection)

    result = vantage.run(Series("http", "127.0.0.1", Odd(note_and_reset).port, count=500, stop_after=0))
    assert result.outcomes["reset"] + result.outcomes["protocol"] == 500
    assert len(set(ports)) == 500


def test_what_connect_itself_says(vantage):
    """A broadcast address is nobody's to connect to: the call fails, and no packet is sent."""
    (probe,) = vantage.run(Series("tcp", "255.255.255.255", 80)).probes
    assert (probe.answer.outcome, probe.answer.at_connect) == ("unreachable", "ENETUNREACH")


def test_what_a_packet_says_is_told_apart(vantage):
    (probe,) = vantage.run(Series("tcp", "127.0.0.1", unused_port())).probes
    assert (probe.answer.outcome, probe.answer.at_connect) == ("refused", "")


def test_a_udp_flow_whose_socket_is_taken_away_goes_on_from_its_port(serve, monkeypatch):
    """Socket load balancers end the sockets of clients whose endpoint has gone: ECONNABORTED."""
    real, ports, fail = flows.ping, [], [False, False, True, False, False]

    def ping(sock, *rest):
        ports.append(sock.getsockname()[1])
        if fail[len(ports) - 1]:
            raise OSError(errno.ECONNABORTED, "Software caused connection abort")
        return real(sock, *rest)

    monkeypatch.setattr(flows, "ping", ping)
    request = {"id": 1, "kind": "flow", "host": "127.0.0.1", "transport": "udp", "count": 5, "spacing": 0.01}
    series = requests.Series({**request, "port": serve("a").ports["udp"], "nonce": NONCE})
    series.stopped = threading.Event()
    rows = flows.flow(series)
    assert [row[0] for row, _, _ in rows] == ["ok", "ok", "reset", "ok", "ok"]
    assert len(set(ports)) == 1
