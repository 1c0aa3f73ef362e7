"""Which kinds the registry treats in a way of their own."""

from __future__ import annotations

from kubereach_lab.config import LabConfig
from kubereach_lab.defaults import jobs, namespaces, plain, pods, services, workloads
from kubereach_lab.defaults.strategy import Strategy
from kubereach_lab.resources import BY_NAME

_SPECIAL: dict[str, type[Strategy]] = {
    **services.STRATEGIES,
    **pods.STRATEGIES,
    **workloads.STRATEGIES,
    **jobs.STRATEGIES,
    **namespaces.STRATEGIES,
    **plain.STRATEGIES,
}


def strategy_of(name: str, config: LabConfig) -> Strategy:
    """The strategy of the resource with the plural `name`."""
    return _SPECIAL.get(name, Strategy)(BY_NAME[name], config)
