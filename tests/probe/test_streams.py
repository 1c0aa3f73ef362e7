"""What goes wrong with one stream, or with who listens to it, is no affair of any other."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
import time

import pytest
from backends import local_vantage
from certificates import certificate
from websocket import ABNF, WebSocket

from kubereach.model.errors import CannotMeasure, Unreachable
from kubereach.probe import Series, Vantage
from kubereach.probe.multiplexer import Multiplexer
from kubereach.probe.streams import MOST_WAITING, Broken, ExecStream, ProcessStream
from kubereach.probe.vantage import POD

SERIES = Series("resolve", "localhost")


def prober_that(first):
    """A prober that does something of its own before it begins."""
    code = f"import sys, time; from kubereach.probe.peer.main import main; {first}; main(['probe'])"
    return [sys.executable, "-u", "-c", code]


def vantage_with(command, multiplexer, context, node="odd"):
    return Vantage(POD, node, lambda: ProcessStream(command), multiplexer, context)


@pytest.fixture
def other(multiplexer, context):
    """A vantage that must notice nothing."""
    made = local_vantage(multiplexer, context, node="other")
    made.open()
    yield made
    assert made.run(SERIES).outcomes == {"ok": 1}


@pytest.mark.usefixtures("other")
def test_lines_that_are_no_objects_are_chatter(multiplexer, context):
    command = prober_that("print('42\\n[1]\\nnull\\n\"a\"\\nWelcome!', flush=True)")
    assert vantage_with(command, multiplexer, context).run(SERIES).outcomes == {"ok": 1}


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize("line", ['{"id": []}', "[" * 9999])
def test_nonsense_costs_the_stream_that_it_came_by(line, multiplexer, context):
    code = f"import sys; print('{{\"hello\": 1}}'); input(); print({line!r}, flush=True); sys.stdin.read()"
    odd = vantage_with([sys.executable, "-u", "-c", code], multiplexer, context)
    with pytest.raises(CannotMeasure, match="the stream to pod@odd broke: invalid answer of a prober"):
        odd.run(SERIES)


@pytest.mark.usefixtures("other")
def test_a_listener_that_fails_costs_itself(multiplexer):
    def fail(_):
        raise KeyError("ours")

    ended = threading.Event()
    stream = ProcessStream([sys.executable, "-c", "print(1)"])
    multiplexer.attach(stream, fail, lambda _: ended.set())
    assert ended.wait(10)
    stream = ProcessStream([sys.executable, "-c", ""])
    multiplexer.attach(stream, lambda _: None, fail)


def test_nothing_is_written_to_descriptors_of_others_after_the_end(tmp_path, context):
    multiplexer = Multiplexer()
    vantage = local_vantage(multiplexer, context)
    vantage.open()
    stream = vantage._prober.stream
    multiplexer.stop()
    files = [(tmp_path / str(number)).open("w+b") for number in range(64)]
    multiplexer.send(stream, b"x")
    multiplexer.detach(stream, "x")
    multiplexer.stop()
    with pytest.raises(CannotMeasure, match="the run has ended"):
        vantage.run(SERIES)
    ended = []
    late = ProcessStream([sys.executable, "-c", "input()"])
    multiplexer.attach(late, lambda _: None, ended.append)
    for _ in range(1000):
        if ended:
            break
        time.sleep(0.01)
    assert ended == ["the run has ended"]
    assert late._process.returncode is not None, "a stream that comes late is closed"
    assert not any(os.fstat(file.fileno()).st_size for file in files)
    for file in files:
        file.close()


def test_threads_that_use_a_wire_while_it_is_stopped(context):
    """As check threads do at an interrupt; nothing hangs, nothing is raised but what says so."""
    for _ in range(5):
        multiplexer = Multiplexer()
        vantages = [local_vantage(multiplexer, context, node=str(number)) for number in range(3)]
        errors = []

        def use(vantage, errors=errors):
            try:
                while True:
                    vantage.run(SERIES)
            except CannotMeasure:
                pass
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=use, args=(vantage,)) for vantage in vantages]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        multiplexer.stop()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not errors


def test_descriptors_beyond_1023(multiplexer, context):
    """select() does not know them."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1400:
        pytest.skip(f"no process may have more than {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1400), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        vantage = local_vantage(multiplexer, context)
        assert vantage.run(SERIES).outcomes == {"ok": 1}
        assert vantage._prober.stream.fileno() > 1023
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_stream_that_takes_nothing_holds_up_no_other(other, multiplexer, context, monkeypatch):
    monkeypatch.setattr("kubereach.probe.multiplexer.STALL", 2.0)
    code = "import time; print('{\"hello\": 1}', flush=True); time.sleep(60)"
    deaf = vantage_with([sys.executable, "-u", "-c", code], multiplexer, context, "deaf")
    deaf.open()
    futures = [deaf.submit(Series("file", more={"path": "x" * 100_000})) for _ in range(20)]
    begun = time.monotonic()
    assert other.run(SERIES).outcomes == {"ok": 1}
    assert time.monotonic() - begun < 2
    with pytest.raises(CannotMeasure, match="the prober has not read its input for 2 s"):
        futures[0].result(20)


def test_what_waits_for_a_stream_is_bounded(multiplexer, context):
    code = "import time; print('{\"hello\": 1}', flush=True); time.sleep(60)"
    deaf = vantage_with([sys.executable, "-u", "-c", code], multiplexer, context, "deaf")
    future = [deaf.submit(Series("file", more={"path": "x" * (MOST_WAITING // 3)})) for _ in range(4)][-1]
    with pytest.raises(CannotMeasure, match="the prober does not read its input"):
        future.result(20)


def test_a_stream_that_does_not_answer_is_replaced(multiplexer, context):
    """Half-open: it greeted, and then nothing comes any more."""
    first = [sys.executable, "-u", "-c", "import time; print('{\"hello\": 1}', flush=True); time.sleep(9)"]
    context.settings = context.settings.overridden(["answer_margin=0.5"])
    commands = [first, prober_that("0")]
    vantage = Vantage(POD, "odd", lambda: ProcessStream(commands.pop(0)), multiplexer, context)
    assert vantage.run(Series("resolve", "localhost", timeout=0.2)).outcomes == {"ok": 1}
    assert not commands


def test_an_exec_that_hangs_ends_and_holds_up_nobody(other, multiplexer, context):
    context.settings = context.settings.overridden(["exec_timeout=1"])
    hung = threading.Event()
    vantage = Vantage(POD, "hung", lambda: hung.wait(60), multiplexer, context)
    begun = time.monotonic()

    def wait():
        with pytest.raises(CannotMeasure):
            vantage.open()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert other.run(SERIES).outcomes == {"ok": 1}
    with pytest.raises(CannotMeasure, match=r"did not start within 1 s[^\0]*exec_timeout"):
        vantage.open()
    waiting.join()
    assert time.monotonic() - begun < 10
    hung.set()


def test_a_prober_that_does_not_greet_is_not_used(multiplexer, context):
    context.settings = context.settings.overridden(["exec_timeout=9"])
    silent = [sys.executable, "-c", "import time; time.sleep(60)"]
    commands = [silent, prober_that("0")]
    streams = []

    def start():
        streams.append(ProcessStream(commands.pop(0)))
        return streams[-1]

    vantage = Vantage(POD, "odd", start, multiplexer, context)
    vantage.open()
    assert vantage.run(SERIES).outcomes == {"ok": 1}
    assert len(streams) == 2 and vantage._prober.stream is streams[1]


def test_an_exec_that_breaks_is_attempted_again(multiplexer, context):
    outcomes = [Unreachable("exec failed: reset"), Unreachable("exec failed: 503"), None]

    def start():
        if error := outcomes.pop(0):
            raise error
        return ProcessStream(prober_that("0"))

    assert Vantage(POD, "odd", start, multiplexer, context).run(SERIES).outcomes == {"ok": 1}
    refused = [CannotMeasure("exec is forbidden"), None]
    outcomes[:] = refused
    with pytest.raises(CannotMeasure, match="forbidden"):
        Vantage(POD, "odd", start, multiplexer, context).open()
    assert outcomes == [None], "a refusal is not asked for twice"


def test_the_end_of_an_old_stream_is_not_the_new_ones(multiplexer, context):
    """An old stream that ends slowly must not fail the greeting, or a series, of the one after it."""
    vantage = local_vantage(multiplexer, context)
    vantage.open()
    old = vantage._prober
    reason = old._broken
    held = threading.Event()
    old_stream_close = old.stream.close

    def slow_close():
        held.wait(10)
        return old_stream_close()

    old.stream.close = slow_close
    old.end("it is old")
    old._error = CannotMeasure("as far as the vantage knows")
    vantage.open()
    future = vantage.submit(Series("resolve", "localhost", count=3, spacing=0.2))
    held.set()
    reason("told late")
    assert future.result(10).outcomes == {"ok": 3}


# WebSockets


@pytest.fixture(params=["plain", "tls"])
def pair(request, tmp_path):
    """A connected WebSocket, and the socket of the server at its other end."""
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.settimeout(10)
    if request.param == "tls":
        certificate(tmp_path, days=1)
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        box = []
        thread = threading.Thread(target=lambda: box.append(server.wrap_socket(theirs, server_side=True)))
        thread.start()
        ours = client.wrap_socket(ours)
        thread.join()
        theirs = box[0]
    websocket = WebSocket()
    websocket.sock, websocket.connected = ours, True
    yield websocket, theirs
    websocket.shutdown()
    theirs.close()


def frame(data, opcode=ABNF.OPCODE_BINARY, fin=1):
    made = ABNF(fin, 0, 0, 0, opcode, 0, data)
    return made.format()


def received(stream, count=1):
    """What comes of a stream until it has said `count` lines."""
    out = b""
    for _ in range(1000):
        out += stream.receive()
        if out.count(b"\n") >= count:
            break
        time.sleep(0.005)
    return out


def test_frames_that_come_in_pieces(pair):
    websocket, theirs = pair
    stream = ExecStream(websocket)
    whole = (
        frame(b"\x01first\n")
        + frame(b"ping", ABNF.OPCODE_PING)
        + frame(b"\x01sec", fin=0)
        + frame(b"ond\n", ABNF.OPCODE_CONT)
    )
    for index in range(0, len(whole), 3):
        theirs.sendall(whole[index : index + 3])
    assert received(stream, 2) == b"first\nsecond\n"
    assert stream.flush() == 0
    assert theirs.recv(100)[0] == 0x80 | ABNF.OPCODE_PONG


def test_what_came_before_the_end_is_not_lost(pair):
    websocket, theirs = pair
    stream = ExecStream(websocket)
    theirs.sendall(
        frame(b"\x01last\n") + frame(b'\x03{"message": "it was killed"}') + frame(b"", ABNF.OPCODE_CLOSE)
    )
    assert received(stream) == b"last\n"
    with pytest.raises(Broken, match="it was killed"):
        received(stream)


def test_a_websocket_that_takes_no_more_does_not_block(pair):
    websocket, theirs = pair
    stream = ExecStream(websocket)
    begun = time.monotonic()
    sent = [bytes([65 + number]) * 300_000 for number in range(8)]
    for data in sent:
        stream.queue(data)
        stream.flush()
    assert stream.flush() > 0
    assert time.monotonic() - begun < 5
    got = b""
    reader = WebSocket()
    reader.sock, reader.connected = theirs, True

    def read():
        nonlocal got
        for _ in sent:
            got += reader.recv_frame().data[1:]

    thread = threading.Thread(target=read)
    thread.start()
    while stream.flush():
        time.sleep(0.001)
    thread.join(10)
    assert got == b"".join(sent)


def test_much_to_read_lets_others_have_their_turn(pair):
    websocket, theirs = pair
    stream = ExecStream(websocket)
    theirs.sendall(frame(b"\x01x\n") * 500)
    time.sleep(0.1)
    assert stream.receive().count(b"\n") < 500
    assert stream.more
    assert received(stream, 400).count(b"\n") >= 400
