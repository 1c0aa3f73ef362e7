"""``kubereach lab``: a lab to look at and to play with."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable

from kubereach_lab import versions
from kubereach_lab.config import IP_FAMILIES, PROXY_MODES, LabConfig
from kubereach_lab.faults import FAULTS, Faults
from kubereach_lab.launch import Lab, LabError

_DESCRIPTION = (
    "Starts a lab, the embedded Kubernetes cluster, and runs one command in it. The lab is "
    "deleted when the command ends.\n"
    "\n"
    "In the lab KUBECONFIG is set, so that kubectl, the official clients and kubereach "
    "itself work as with any cluster, and\n"
    "curl reaches nodes, node ports and load-balancer addresses. The network namespaces of "
    "nodes are in /run/netns:\n"
    "`ip netns exec kubereach-worker nft list ruleset` shows the rules of a node.\n"
)
_EXAMPLES = """\
examples:
  kubereach lab shell                                a shell in a lab of three nodes
  kubereach lab --nodes 5 run -- kubectl get nodes   one command in a lab of five
  kubereach lab --image 'nginx=python3 -m http.server 80' shell
  kubereach lab run -- kubereach run --kubeconfig /run/kubereach/kubeconfig
  kubereach lab faults                               the defects that a lab can have on demand
  kubereach lab --fault dns.stale,net.mtu shell      a shell in a lab with two of them
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Teach the parser of ``kubereach lab`` its options and commands."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--nodes", type=int, default=3, metavar="N", help="number of nodes (default: %(default)s)"
    )
    parser.add_argument(
        "--ip-family",
        choices=IP_FAMILIES,
        default="ipv4",
        help="IP family, or the primary one with --dual-stack (default: %(default)s)",
    )
    parser.add_argument("--dual-stack", action="store_true", help="use both IP families")
    parser.add_argument(
        "--cluster-domain",
        default="cluster.local",
        metavar="DOMAIN",
        help="DNS domain of the cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--proxy-mode",
        choices=PROXY_MODES,
        default="nftables",
        help="kube-proxy mode to simulate (default: %(default)s)",
    )
    parser.add_argument(
        "--kubernetes-version",
        default=versions.DEFAULT,
        metavar="VERSION",
        help=f"Kubernetes version to simulate, 1.{versions.OLDEST} to 1.{versions.NEWEST} (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--fault",
        default="",
        metavar="NAME[,NAME]",
        help="defects of the lab; `kubereach lab faults` lists them",
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="command of this machine to run for containers of this image that name no command "
        "(repeatable); NAME with or without tag",
    )
    commands = parser.add_subparsers(dest="lab_command", required=True, metavar="COMMAND")
    commands.add_parser("shell", help="open $SHELL in a lab")
    run = commands.add_parser("run", help="run one command in a lab and exit with its code")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD [ARG ...]")
    faults = commands.add_parser("faults", help="list the defects that a lab can have")
    faults.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Run ``kubereach lab``; returns the command's exit code, 2 for wrong usage, 3 if there can be no lab."""
    if args.lab_command == "faults":
        return _list_faults(as_json=args.json)
    command = [os.environ.get("SHELL") or "/bin/sh"]
    if args.lab_command == "run":
        command = args.argv[1:] if args.argv[:1] == ["--"] else list(args.argv)
        if not command:
            return _refuse("no command given; example: kubereach lab run -- kubectl get nodes", 2)
    try:
        config = LabConfig(
            nodes=args.nodes,
            ip_family=args.ip_family,
            dual_stack=args.dual_stack,
            cluster_domain=args.cluster_domain.strip("."),
            proxy_mode=args.proxy_mode,
            version=versions.named(args.kubernetes_version),
            faults=Faults(filter(None, args.fault.split(","))),
            images=_images(args.image),
        )
        with Lab(config) as lab:
            if args.lab_command == "shell":
                sys.stderr.write("lab ready: try `kubectl get nodes -o wide`; `exit` ends the lab\n")
            return lab.run(command)
    except ValueError as error:
        return _refuse(str(error), 2)
    except LabError as error:
        return _refuse(str(error), 3)


def _list_faults(*, as_json: bool) -> int:
    if as_json:
        shown = {
            name: {"what": fault.what, "layer": fault.layer, "bug": fault.bug, "nodes": fault.nodes}
            for name, fault in FAULTS.items()
        }
        sys.stdout.write(json.dumps(shown, indent=1) + "\n")
        return 0
    margin = max(map(len, FAULTS)) + 4
    width = max(shutil.get_terminal_size((100, 24)).columns, margin + 30)
    for layer in sorted({fault.layer for fault in FAULTS.values()}):
        sys.stdout.write(f"{layer}\n")
        for name, fault in FAULTS.items():
            if fault.layer == layer:
                text = f"{fault.what} ({fault.bug})" if fault.bug else fault.what
                start = f"  {name}".ljust(margin)
                sys.stdout.write(
                    textwrap.fill(text, width, initial_indent=start, subsequent_indent=" " * margin)
                )
                sys.stdout.write("\n")
    return 0


def _images(options: Iterable[str]) -> dict[str, list[str]]:
    """What ``--image`` says. Raises `ValueError`."""
    images = {}
    for text in options:
        name, _, command = text.partition("=")
        words = shlex.split(command)
        if not name or not words:
            raise ValueError(
                f"--image {text}: not of the form NAME=COMMAND; example: --image 'web=python3 -m http.server'"
            )
        images[name] = words
    return images


def _refuse(message: str, code: int) -> int:
    sys.stderr.write(f"kubereach lab: {message}\n")
    return code
