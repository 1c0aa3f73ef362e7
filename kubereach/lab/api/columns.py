"""The columns of each kind's Table and how a row is filled, as pkg/printers/internalversion of Kubernetes does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from kubereach.lab.selectors import selector_text
from kubereach.lab.status import Object

_NONE = "<none>"


@dataclass(frozen=True)
class Column:
    """A column; those of `priority` 1 are shown by ``-o wide`` only."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def as_dict(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": self.priority,
        }


@dataclass(frozen=True)
class Printer:
    columns: tuple[Column, ...]
    row: Callable[[Object], list[Any]]
    #: what a row says beside its cells, such as that the object is complete
    conditions: Callable[[Object], list[Object]] = lambda _: []


def human_duration(seconds: float) -> str:
    """A duration as kubectl prints ages: ``5s``, ``3m20s``, ``2d4h`` (k8s.io/apimachinery util/duration)."""
    if seconds < -1:
        return "<invalid>"
    total = max(0, int(seconds))
    if total < 120:
        return f"{total}s"
    minutes = total // 60
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = total // 3600
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return f"{years}y{days % 365}d" if days % 365 else f"{years}y"
    return f"{years}y"


def _since(stamp: str | None) -> str:
    if not stamp:
        return "<unknown>"
    moment = datetime.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return human_duration((datetime.now(timezone.utc) - moment).total_seconds())


def _took(start: str | None, end: str | None) -> str:
    """The time between two, or since the first."""
    if not start or not end:
        return _since(start) if start else ""
    moments = [datetime.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S") for stamp in (start, end)]
    return human_duration((moments[1] - moments[0]).total_seconds())


def _age(obj: Object) -> str:
    return _since(obj["metadata"].get("creationTimestamp"))


def _joined(items: Iterable[str]) -> str:
    return ",".join(items) or _NONE


def _selector(selector: Any) -> str:
    return selector_text(selector or {}) or _NONE


def _containers(obj: Object) -> list[str]:
    containers = obj["spec"]["template"]["spec"].get("containers") or []
    return [",".join(c["name"] for c in containers), ",".join(c.get("image", "") for c in containers)]


_NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
_AGE = Column("Age", description="CreationTimestamp is a timestamp representing the server time.")
_TEMPLATE = (Column("Containers", priority=1), Column("Images", priority=1))
_SELECTOR = Column("Selector", priority=1)


def pod_status(pod: Object) -> tuple[str, int, int, int]:
    """The status word of a pod as kubectl prints it, its ready containers, all of them, and restarts."""
    spec, status = pod["spec"], pod.get("status") or {}
    word = status.get("reason") or status.get("phase", "Unknown")
    ready, restarts = 0, 0
    initialising = False
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    for i, state in enumerate(status.get("initContainerStatuses") or ()):
        restarts += state.get("restartCount", 0)
        if state["name"] in sidecars and state.get("started"):
            ready += bool(state.get("ready"))
            continue
        terminated = (state.get("state") or {}).get("terminated")
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        waiting = (state.get("state") or {}).get("waiting") or {}
        if terminated is not None:
            word = "Init:" + (terminated.get("reason") or f"ExitCode:{terminated.get('exitCode')}")
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            word = "Init:" + waiting["reason"]
        else:
            word = f"Init:{i}/{len(spec.get('initContainers') or ())}"
        initialising = True
        break
    if not initialising:
        restarts, running = 0, False
        for state in reversed(status.get("containerStatuses") or []):
            restarts += state.get("restartCount", 0)
            current = state.get("state") or {}
            waiting, terminated = current.get("waiting") or {}, current.get("terminated")
            if waiting.get("reason"):
                word = waiting["reason"]
            elif terminated is not None:
                word = terminated.get("reason") or (
                    f"Signal:{terminated['signal']}"
                    if terminated.get("signal")
                    else f"ExitCode:{terminated.get('exitCode')}"
                )
            elif state.get("ready") and "running" in current:
                running = True
                ready += 1
        if word == "Completed" and running:
            word = "Running" if _condition(status, "Ready") == "True" else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            word = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            word = "Terminating"
    return word, ready, len(sidecars) + len(spec.get("containers") or ()), restarts


def _condition(status: Object, type: str) -> str:
    return next((c["status"] for c in status.get("conditions") or () if c["type"] == type), "Unknown")


def _pod(pod: Object) -> list[Any]:
    word, ready, total, restarts = pod_status(pod)
    status = pod.get("status") or {}
    gates = pod["spec"].get("readinessGates") or ()
    true = sum(_condition(status, gate["conditionType"]) == "True" for gate in gates)
    return [
        pod["metadata"]["name"],
        f"{ready}/{total}",
        word,
        _restarts(status, restarts),
        _age(pod),
        status.get("podIP") or _NONE,
        pod["spec"].get("nodeName") or _NONE,
        status.get("nominatedNodeName") or _NONE,
        f"{true}/{len(gates)}" if gates else _NONE,
    ]


def _restarts(status: Object, count: int) -> str:
    """How often, and how long ago the latest run ended."""
    states = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ended = [
        ((state.get("lastState") or {}).get("terminated") or {}).get("finishedAt", "") for state in states
    ]
    latest = max(ended, default="")
    return f"{count} ({_since(latest)} ago)" if count and latest else str(count)


def _pod_conditions(pod: Object) -> list[Object]:
    phase = (pod.get("status") or {}).get("phase")
    told = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}
    if phase not in told:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": told[phase]}]


def _external_ip(service: Object) -> str:
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName", _NONE))
    external: list[str] = list(spec.get("externalIPs") or ())
    if spec["type"] == "LoadBalancer":
        ingresses = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
        external = [i.get("ip") or i.get("hostname", "") for i in ingresses] + external
        return ",".join(external) or "<pending>"
    return _joined(external)


def _service(service: Object) -> list[Any]:
    spec = service["spec"]
    ports = [
        f"{p['port']}:{p['nodePort']}/{p['protocol']}"
        if p.get("nodePort")
        else f"{p['port']}/{p['protocol']}"
        for p in spec.get("ports") or ()
    ]
    return [
        service["metadata"]["name"],
        spec["type"],
        spec.get("clusterIP") or _NONE,
        _external_ip(service),
        _joined(ports),
        _age(service),
        _selector({"matchLabels": spec.get("selector") or {}}),
    ]


def _node(node: Object) -> list[Any]:
    metadata, status = node["metadata"], node.get("status") or {}
    words = ["Ready" if _condition(status, "Ready") == "True" else "NotReady"]
    if node["spec"].get("unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key[len(prefix) :] for key in metadata.get("labels") or {} if key.startswith(prefix))
    addresses: dict[str, str] = {}
    for address in status.get("addresses") or ():
        addresses.setdefault(address["type"], address["address"])  # of two InternalIPs the first
    info = status.get("nodeInfo") or {}
    kernel = info.get("kernelVersion", "<unknown>")
    if architecture := info.get("architecture"):
        kernel = f"{kernel} ({architecture})"
    return [
        metadata["name"],
        ",".join(words),
        _joined(roles),
        _age(node),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", _NONE),
        addresses.get("ExternalIP", _NONE),
        info.get("osImage", "<unknown>"),
        kernel,
        info.get("containerRuntimeVersion", "<unknown>"),
    ]


def _deployment(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{obj['spec']['replicas']}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(obj),
        *_containers(obj),
        _selector(obj["spec"].get("selector")),
    ]


def _replicaset(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        obj["spec"]["replicas"],
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age(obj),
        *_containers(obj),
        _selector(obj["spec"].get("selector")),
    ]


def _statefulset(obj: Object) -> list[Any]:
    ready = (obj.get("status") or {}).get("readyReplicas", 0)
    return [obj["metadata"]["name"], f"{ready}/{obj['spec']['replicas']}", _age(obj), *_containers(obj)]


def _job(obj: Object) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    held = {c["type"] for c in status.get("conditions") or [] if c["status"] == "True"}
    states = ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet")
    state = next((s for s in states if s in held), "Running")
    wanted = spec.get("completions", f"1 of {spec['parallelism']}" if spec["parallelism"] > 1 else 1)
    return [
        obj["metadata"]["name"],
        state,
        f"{status.get('succeeded', 0)}/{wanted}",
        _took(status.get("startTime"), status.get("completionTime")),
        _age(obj),
        *_containers(obj),
        _selector(spec.get("selector")),
    ]


def _daemonset(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        _selector({"matchLabels": obj["spec"]["template"]["spec"].get("nodeSelector") or {}}),
        _age(obj),
        *_containers(obj),
        _selector(obj["spec"].get("selector")),
    ]


def _shortened(items: list[str], most: int) -> str:
    more = len(items) - most
    return ",".join(items[:most]) + (f" + {more} more..." if more > 0 else "")


def _endpoints(obj: Object) -> list[Any]:
    pairs: list[str] = []
    for subset in obj.get("subsets") or ():
        ports = subset.get("ports") or ()
        for address in subset.get("addresses") or ():
            pairs += [f"{address['ip']}:{port['port']}" for port in ports] if ports else [address["ip"]]
    return [obj["metadata"]["name"], _shortened(pairs, 3) or _NONE, _age(obj)]


def _endpointslice(obj: Object) -> list[Any]:
    ports = [str(port["port"]) if port.get("port") else "*" for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint["addresses"]]
    return [
        obj["metadata"]["name"],
        obj.get("addressType", ""),
        _shortened(ports, 3) or "<unset>",
        _shortened(addresses, 3) or "<unset>",
        _age(obj),
    ]


def _event(obj: Object) -> list[Any]:
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent", "")
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    seen = _since(last) if count == 1 else f"{_since(last)} (x{count} over {_since(first)})"
    return [
        seen,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        f"{component}, {source['host']}" if source.get("host") else component,
        (obj.get("message") or obj.get("note", "")).strip(),
        _since(first),
        count,
        obj["metadata"]["name"],
    ]


def _ingress(obj: Object) -> list[Any]:
    spec = obj["spec"]
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    ingresses = (obj.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
    return [
        obj["metadata"]["name"],
        spec.get("ingressClassName") or _NONE,
        _shortened(hosts, 3) or "*",
        ",".join(i.get("ip") or i.get("hostname", "") for i in ingresses),
        "80, 443" if spec.get("tls") else "80",
        _age(obj),
    ]


def _lease(obj: Object) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("spec") or {}).get("holderIdentity", ""), _age(obj)]


def _numbers(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, type="integer") for name in names)


COLUMNS: dict[str, Printer] = {
    "pods": Printer(
        (
            _NAME,
            Column("Ready", description="The aggregate readiness state of this pod for accepting traffic."),
            Column("Status", description="The aggregate status of the containers in this pod."),
            Column(
                "Restarts",
                description="The number of times the containers in this pod have been restarted and when the last "
                "container in this pod has restarted.",
            ),
            _AGE,
            Column("IP", priority=1),
            Column("Node", priority=1),
            Column("Nominated Node", priority=1),
            Column("Readiness Gates", priority=1),
        ),
        _pod,
        _pod_conditions,
    ),
    "services": Printer(
        (
            _NAME,
            Column("Type"),
            Column("Cluster-IP"),
            Column("External-IP"),
            Column("Port(s)"),
            _AGE,
            _SELECTOR,
        ),
        _service,
    ),
    "nodes": Printer(
        (
            _NAME,
            Column("Status"),
            Column("Roles"),
            _AGE,
            Column("Version"),
            Column("Internal-IP", priority=1),
            Column("External-IP", priority=1),
            Column("OS-Image", priority=1),
            Column("Kernel-Version", priority=1),
            Column("Container-Runtime", priority=1),
        ),
        _node,
    ),
    "namespaces": Printer(
        (_NAME, Column("Status"), _AGE),
        lambda obj: [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), _age(obj)],
    ),
    "deployments": Printer(
        (
            _NAME,
            Column("Ready"),
            Column("Up-to-date"),
            Column("Available"),
            _AGE,
            *_TEMPLATE,
            _SELECTOR,
        ),
        _deployment,
    ),
    "replicasets": Printer(
        (_NAME, *_numbers("Desired", "Current", "Ready"), _AGE, *_TEMPLATE, _SELECTOR), _replicaset
    ),
    "statefulsets": Printer((_NAME, Column("Ready"), _AGE, *_TEMPLATE), _statefulset),
    "jobs": Printer(
        (_NAME, Column("Status"), Column("Completions"), Column("Duration"), _AGE, *_TEMPLATE, _SELECTOR),
        _job,
    ),
    "daemonsets": Printer(
        (
            _NAME,
            *_numbers("Desired", "Current", "Ready", "Up-to-date", "Available"),
            Column("Node Selector"),
            _AGE,
            *_TEMPLATE,
            _SELECTOR,
        ),
        _daemonset,
    ),
    "endpoints": Printer((_NAME, Column("Endpoints"), _AGE), _endpoints),
    "endpointslices": Printer(
        (_NAME, Column("AddressType"), Column("Ports"), Column("Endpoints"), _AGE), _endpointslice
    ),
    "configmaps": Printer(
        (_NAME, Column("Data"), _AGE),
        lambda obj: [
            obj["metadata"]["name"],
            len(obj.get("data") or {}) + len(obj.get("binaryData") or {}),
            _age(obj),
        ],
    ),
    "secrets": Printer(
        (_NAME, Column("Type"), Column("Data"), _AGE),
        lambda obj: [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data") or {}), _age(obj)],
    ),
    "serviceaccounts": Printer((_NAME, _AGE), lambda obj: [obj["metadata"]["name"], _age(obj)]),
    "events": Printer(
        (
            Column("Last Seen"),
            Column("Type"),
            Column("Reason"),
            Column("Object"),
            Column("Subobject", priority=1),
            Column("Source", priority=1),
            Column("Message"),
            Column("First Seen", priority=1),
            Column("Count", priority=1),
            Column("Name", format="name", priority=1),
        ),
        _event,
    ),
    "networkpolicies": Printer(
        (_NAME, Column("Pod-Selector"), _AGE),
        lambda obj: [obj["metadata"]["name"], _selector(obj["spec"].get("podSelector")), _age(obj)],
    ),
    "ingresses": Printer(
        (_NAME, Column("Class"), Column("Hosts"), Column("Address"), Column("Ports"), _AGE), _ingress
    ),
    "ingressclasses": Printer(
        (_NAME, Column("Controller"), Column("Parameters"), _AGE),
        lambda obj: [obj["metadata"]["name"], obj["spec"].get("controller", ""), _NONE, _age(obj)],
    ),
    "servicecidrs": Printer(
        (_NAME, Column("CIDRs"), _AGE),
        lambda obj: [obj["metadata"]["name"], ",".join(obj["spec"]["cidrs"]), _age(obj)],
    ),
    "leases": Printer((_NAME, Column("Holder"), _AGE), _lease),
    "controllerrevisions": Printer(
        (_NAME, Column("Controller"), Column("Revision"), _AGE),
        lambda obj: [
            obj["metadata"]["name"],
            next(
                (
                    f"{owner['kind'].lower()}.{owner['apiVersion'].partition('/')[0]}/{owner['name']}"
                    for owner in obj["metadata"].get("ownerReferences") or ()
                    if owner.get("controller")
                ),
                _NONE,
            ),
            obj.get("revision", 0),
            _age(obj),
        ],
    ),
}
