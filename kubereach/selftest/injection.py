"""Puts a fault into a lab that runs, from a process of its own, and takes it out and in again where it has a window."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from kubereach.kube.access import ClusterAccess
from kubereach.kube.client import Api
from kubereach.selftest.false_dns import answer_falsely
from kubereach.selftest.lab_facts import Facts, base_facts, with_world
from kubereach.selftest.namespaces import enter, within
from kubereach.selftest.nft_rules import FALSE_DNS_PORT, REMOVED, needs_world, scripts
from kubereach.selftest.random_fault import DELAY, FALSE_ANSWER, Place, RandomFault, Window
from kubereach.selftest.slow_way import SlowWay, link_address, slow_ways
from kubereach_lab import Lab
from kubereach_lab.nftables import refusal
from kubereach_lab.syscalls import die_with_parent

#: what was put into the lab, beside the run's report
FILE = "fault.json"


def begin(lab: Lab, fault: RandomFault, folder: Path) -> int:
    """Start the process that puts the fault in; gives its id. What it did, or why not, is then in ``folder/FILE``.

    It ends with the calling process. Call it before `Lab.enter`, from a process with a single thread.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with_parent(signal.SIGKILL)
            if os.getppid() == parent:
                _be_the_fault(lab, fault, folder)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return pid


def _be_the_fault(lab: Lab, fault: RandomFault, folder: Path) -> None:
    told: dict[str, Any] = {"fault": asdict(fault), "in_words": fault.in_words, "applied": False}

    def tell(**more: object) -> None:
        told.update(more)
        text = json.dumps(told, indent=1) + "\n"
        (folder / FILE).write_text(text, encoding="utf-8")

    namespaces = lab.root / "run/netns"
    try:
        lab.enter()
        api = Api(ClusterAccess(lab.kubeconfig, None, "the lab", direct=True))
        base = base_facts(api)
        found = with_world(api) if needs_world(fault) else base
        rules = scripts(fault, found)
        if fault.action == DELAY:
            slow_down(fault.place, found, namespaces)
        if fault.action == FALSE_ANSWER:
            serve_falsely(found, list(rules), namespaces)
        put_in(rules, namespaces)
        begun = time.monotonic()
        tell(applied=True, rules=rules, facts=asdict(found))
    except Exception as error:
        tell(error=f"{type(error).__name__}: {error}")
        return
    for there, until in changes(fault.match.window):
        time.sleep(max(0.0, begun + until - time.monotonic()))
        (put_in if there else take_out)(rules, namespaces)
    threading.Event().wait()


def put_in(rules: dict[str, str], namespaces: Path) -> None:
    """Apply the rules of each node in its namespace. Raises `ValueError` where nftables refuses them."""
    for node, script in rules.items():
        if reason := within(namespaces / node, partial(refusal, script)):
            raise ValueError(f"nft on {node}: {reason}")


def take_out(rules: dict[str, str], namespaces: Path) -> None:
    put_in(dict.fromkeys(rules, REMOVED), namespaces)


def changes(window: Window | None) -> Iterator[tuple[bool, float]]:
    """Whether the fault comes or goes, and when: seconds since it was put in. It is there at first."""
    if window is None:
        return
    if not window.period:
        yield False, 0.0
        yield True, window.begin
        yield False, window.begin + window.length
        return
    begin = float(window.begin)
    while True:
        yield False, begin + window.length
        begin += window.period
        yield True, begin


def slow_down(place: Place, facts: Facts, namespaces: Path) -> None:
    """Make the ways of a place slower. Raises `OSError` where this machine cannot."""
    nodes = {node.name: node for node in facts.nodes}
    for name, others in slow_ways(place, facts).items():
        over = {
            ipaddress.IPv4Network(nodes[other].pods): within(namespaces / other, link_address)
            for other in others
        }
        way = SlowWay(over)
        within(namespaces / name, partial(way.open, nodes[name].address))
        _in_background(way.carry)


def serve_falsely(facts: Facts, names: list[str], namespaces: Path) -> None:
    """Start a false name server on each of these nodes."""
    for node in facts.nodes:
        if node.name in names:
            _in_background(partial(_serve, namespaces / node.name, node.address))


def _serve(namespace: Path, address: str) -> None:
    enter(namespace)
    answer_falsely(address, FALSE_DNS_PORT)


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
