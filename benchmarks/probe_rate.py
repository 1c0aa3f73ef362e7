"""Probes per second from one pod vantage: over its stream, and with one exec for each probe."""

from __future__ import annotations

import time

from kubereach.model.events import Bus
from kubereach.model.settings import Settings
from kubereach.probe.series import Series
from kubereach.run.catalogue import manifests_for, suites_folder
from kubereach.targets.lab import LabTarget
from kubereach.world import World
from kubereach.world.manifests import CONTAINER

_STREAM_PROBES = 5000
_EXEC_PROBES = 20
_ONE = "import urllib.request; urllib.request.urlopen('{url}', timeout=2).read()"


def measure_rates() -> list[tuple[str, str, float]]:
    """Rows (what, measured, ratio). Moves this process into a lab."""
    target = LabTarget()
    access = target.open()
    world = World(access, Settings(), Bus(), manifests_for(suites_folder()), ["clusterip"])
    try:
        world.connect()
        world.start()
        address = world.service("clusterip").vip()
        vantage = world.pods[0]
        stream = _stream_rate(vantage, address.host, address.port)
        execs = _exec_rate(world, vantage.namespace, vantage.pod, address.url)
    finally:
        world.stop()
        target.close()
    return [
        (
            "HTTP probes per second of one pod vantage, over its stream / one exec each",
            f"{stream:.0f}/s against {execs:.1f}/s",
            stream / execs,
        )
    ]


def _stream_rate(vantage, host: str, port: int) -> float:  # type: ignore[no-untyped-def]
    vantage.run(Series("http", host, port, count=200, in_flight=16))
    start = time.perf_counter()
    result = vantage.run(Series("http", host, port, count=_STREAM_PROBES, in_flight=16, retransmits=True))
    seconds = time.perf_counter() - start
    bad = {probe.answer.outcome for probe in result.probes} - {"ok"}
    if bad:
        raise RuntimeError(f"probes failed: {bad}")
    return _STREAM_PROBES / seconds


def _exec_rate(world: World, namespace: str, pod: str, url: str) -> float:
    """What a suite without a stream does: exec, wait, read, for each probe."""
    start = time.perf_counter()
    for _ in range(_EXEC_PROBES):
        websocket = world.api.exec(namespace, pod, CONTAINER, ["python3", "-c", _ONE.format(url=url)], 20.0)
        while websocket.sock is not None and websocket.connected:
            opcode, frame = websocket.recv_data_frame(True)
            if opcode == 8:
                break
            if frame.data[:1] == b"\x03" and b"Success" not in frame.data:
                raise RuntimeError(frame.data.decode())
        websocket.close()
    return _EXEC_PROBES / (time.perf_counter() - start)
