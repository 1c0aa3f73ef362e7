"""Services: what the API server does about them. `service_spec` and `service_checks` have the rules."""

from __future__ import annotations

from collections.abc import Callable

from kubereach_lab import mistakes, versions
from kubereach_lab.allocation import ServiceAllocator
from kubereach_lab.config import LabConfig
from kubereach_lab.defaults import names
from kubereach_lab.defaults.service_checks import check_distribution, check_spec, check_update
from kubereach_lab.defaults.service_spec import (
    keep_allocated,
    normalise_cluster_ips,
    set_defaults,
    wipe_dependent,
)
from kubereach_lab.defaults.strategy import Strategy
from kubereach_lab.resources import Resource
from kubereach_lab.status import Cause, Object, forbidden_field, unsupported_value


class ServiceStrategy(Strategy):
    """Services."""

    stored_below = "services/specs"

    def __init__(self, resource: Resource, config: LabConfig) -> None:
        super().__init__(resource, config)
        self.allocator = ServiceAllocator(config.plans, config.node_port_range, config.faults)

    def name_problems(self, name: str) -> list[str]:
        return names.service_name_problems(name)

    def initial_status(self, new: Object) -> None:
        new["status"] = {"loadBalancer": {}}

    def prepare(self, new: Object, old: Object | None) -> None:
        super().prepare(new, old)
        spec = new.setdefault("spec", {})
        before = old["spec"] if old is not None else None
        if self.config.minor < versions.TRAFFIC_DISTRIBUTION:
            spec.pop("trafficDistribution", None)
        set_defaults(spec)
        if before is not None:
            keep_allocated(spec, before)
        normalise_cluster_ips(spec, before)
        if before is not None:
            wipe_dependent(spec, before)
            if spec["type"] != "LoadBalancer":
                new["status"] = {**new["status"], "loadBalancer": {}}
        else:
            mistakes.in_service(new, self.config.faults)

    def prepare_status(self, new: Object, old: Object) -> None:
        balancer = new.setdefault("status", {}).setdefault("loadBalancer", {})
        for ingress in balancer.get("ingress") or ():
            if self.config.minor < versions.IP_MODE:
                ingress.pop("ipMode", None)
            elif ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")

    def validate(self, new: Object, old: Object | None) -> list[Cause]:
        spec = new["spec"]
        causes: list[Cause] = []
        if old is not None:
            causes += check_update(spec, old["spec"])
        return causes + check_spec(spec) + check_distribution(spec, self.config.minor)

    def validate_status(self, new: Object, old: Object) -> list[Cause]:
        ingresses = new["status"]["loadBalancer"].get("ingress") or []
        path = "status.loadBalancer.ingress"
        if ingresses and new["spec"]["type"] != "LoadBalancer":
            return [forbidden_field(path, "may only be used when `spec.type` is 'LoadBalancer'")]
        causes: list[Cause] = []
        for i, ingress in enumerate(ingresses):
            if ip := ingress.get("ip"):
                causes += names.check_ip(ip, f"{path}[{i}].ip")
                if ingress.get("ipMode", "VIP") not in ("VIP", "Proxy"):
                    causes.append(
                        unsupported_value(f"{path}[{i}].ipMode", ingress["ipMode"], ("VIP", "Proxy"))
                    )
            elif "ipMode" in ingress:
                causes.append(
                    forbidden_field(f"{path}[{i}].ipMode", "may not be specified when `ip` is not set")
                )
        return causes

    def allocate(self, new: Object, old: Object | None, *, dry_run: bool) -> Callable[[], None]:
        return self.allocator.allocate(new, old, dry_run=dry_run)

    def release(self, obj: Object) -> None:
        self.allocator.release(obj)


STRATEGIES: dict[str, type[Strategy]] = {"services": ServiceStrategy}
