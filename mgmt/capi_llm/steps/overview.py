"""A plane as its steps say it is."""

from __future__ import annotations

from dataclasses import dataclass

from capi_llm.identity import Identity
from capi_llm.sandbox.supervisor import SUPERVISOR
from capi_llm.steps import engine
from capi_llm.steps.management_cluster import NAME as MANAGEMENT_CLUSTER
from capi_llm.waiting import Status, pending, ready

_STARTERS = (SUPERVISOR, MANAGEMENT_CLUSTER)
"""Steps whose things start others."""


@dataclass(frozen=True)
class Overview:
    """A plane and the state of its steps: what ``status`` shows of it."""

    identity: Identity
    steps: tuple[engine.Result, ...]

    @property
    def ready(self) -> bool:
        return all(step.status.ready for step in self.steps)

    @property
    def status(self) -> Status:
        """READY, or the first step that is not."""
        wrong = [step for step in self.steps if not step.status.ready]
        return pending(f"{wrong[0].step}: {wrong[0].status.message}") if wrong else ready()

    @property
    def under_way(self) -> bool:
        """Whether it can become ready by itself: something that starts its parts is there."""
        return any(step.step in _STARTERS and step.status.ready for step in self.steps)

    @property
    def serves_clusters(self) -> bool:
        """Whether Cluster API's objects can be read."""
        return any(step.step == "cluster-api" and step.status.ready for step in self.steps)
