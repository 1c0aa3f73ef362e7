"""What the API server offers for Services, asked of it by dry runs: nothing is created."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kubereach.kube.client import Api, ApiError, Object
from kubereach.model.features import FeatureState

#: values of spec.trafficDistribution, with the name that PreferSameZone had before Kubernetes 1.34
SAME_NODE, SAME_ZONE, CLOSE = "PreferSameNode", "PreferSameZone", "PreferClose"
#: the version of Kubernetes that takes a value by default (gate PreferSameTrafficDistribution)
_SINCE = {SAME_NODE: "1.34", SAME_ZONE: "1.34"}


@dataclass(frozen=True)
class Capabilities:
    """IP families of Services, the primary one first, and values of spec.trafficDistribution, or why there are none."""

    families: tuple[str, ...] = ()
    #: what the API server said to a Service of both families
    dual_stack: str = ""
    #: what it said to each value of spec.trafficDistribution that it does not take
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def same_zone(self) -> str:
        """The value of spec.trafficDistribution that prefers endpoints of the client's zone; empty if there is none."""
        return next((name for name in (SAME_ZONE, CLOSE) if name not in self.refused), "")

    def dual_stack_finding(self) -> FeatureState:
        """Whether a Service gets addresses of both families."""
        return FeatureState(len(self.families) == 2, self.dual_stack)

    def same_node_finding(self) -> FeatureState:
        """Whether endpoints of the client's node can be preferred."""
        refusal = self.refused.get(SAME_NODE)
        return FeatureState(not refusal, refusal or f"the API server accepts {SAME_NODE}")

    def same_zone_finding(self, zones: Collection[str]) -> FeatureState:
        """Whether endpoints of the client's zone can be preferred; `zones` are those of the nodes, "" for none."""
        if not self.same_zone:
            return FeatureState(False, self.refused[SAME_ZONE])
        named = sorted({zone for zone in zones if zone})
        where = f"node zones: {', '.join(named) or 'none'}"
        return FeatureState(
            len(named) > 1 and "" not in zones, f"{where}; the API server accepts {self.same_zone}"
        )


def ask(api: Api, namespace: str = "default") -> Capabilities:
    """Ask the API server, by dry runs in a namespace. Raises `ApiError` only if it does not answer."""
    families, answer = _families(api, namespace)
    refused = {name: why for name in (SAME_NODE, SAME_ZONE) if (why := _refusal(api, namespace, name))}
    if SAME_ZONE in refused and (why := _refusal(api, namespace, CLOSE)):
        refused[CLOSE] = why
    return Capabilities(families, answer, refused)


def _service(namespace: str, spec: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubereach-offers", "namespace": namespace},
        "spec": {"ports": [{"port": 80}], **spec},
    }


def _families(api: Api, namespace: str) -> tuple[tuple[str, ...], str]:
    try:
        made = api.create(_service(namespace, {"ipFamilyPolicy": "RequireDualStack"}), dry_run=True)
    except ApiError as error:
        return (), f"the API server rejects a dual-stack Service: {_reason(error)}"
    families = tuple(made["spec"].get("ipFamilies") or ())
    return families, f"IP families of a dual-stack Service: {' and '.join(families) or 'none'}"


def _reason(error: ApiError) -> str:
    """What the API server says of the value, without the name of our Service that never was."""
    return error.message.rpartition('": ')[2] or error.reason


def _refusal(api: Api, namespace: str, distribution: str) -> str:
    """Why the API server does not take this value of spec.trafficDistribution; empty if it does."""
    try:
        made = api.create(_service(namespace, {"trafficDistribution": distribution}), dry_run=True)
    except ApiError as error:
        since = f" (new in Kubernetes {_SINCE[distribution]})" if distribution in _SINCE else ""
        return f"the API server rejects trafficDistribution {distribution}{since}: {_reason(error)}"
    if made["spec"].get("trafficDistribution") != distribution:
        # what a server does not know, or has a feature gate for that is off, it drops without a word
        return (
            "the API server drops spec.trafficDistribution, which is enabled by default since Kubernetes 1.31"
        )
    return ""
