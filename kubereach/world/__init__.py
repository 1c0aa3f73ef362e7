"""The world: the objects that the checks run against, applied in one batch, waited for once, and torn down."""

from __future__ import annotations

from kubereach.world.service import Service
from kubereach.world.world import World

__all__ = ["Service", "World"]
