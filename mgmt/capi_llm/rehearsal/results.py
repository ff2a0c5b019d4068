"""What a rehearsal has seen, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from capi_llm.rehearsal import timeline
from capi_llm.rehearsal.findings import Finding
from capi_llm.rehearsal.world import Key, PoolKey

Outcome = Literal["rehearsed", "refused", "failed", "not settled", "not rehearsed"]


@dataclass(frozen=True)
class ClusterResult:
    """What a change does to one cluster. ``infrastructure`` are changes of its cluster infrastructure."""

    key: Key
    cluster_class: str
    version: tuple[str, str]
    outcome: Outcome
    message: str = ""
    machines: tuple[timeline.MachineFate, ...] = ()
    why: Mapping[PoolKey, tuple[str, ...]] = field(default_factory=dict)
    infrastructure: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()

    def count(self, fate: timeline.Fate) -> int:
        return sum(machine.fate == fate for machine in self.machines)


@dataclass(frozen=True)
class Rehearsal:
    """Everything that is reported. ``events`` are numbered from 1 by the machines' steps."""

    clusters: tuple[ClusterResult, ...]
    findings: tuple[Finding, ...]
    events: tuple[timeline.Event, ...] = ()
    seconds: float = 0.0
    kept: str = ""
    source: str = ""

    @property
    def errors(self) -> bool:
        return any(finding.level == "error" for finding in self.findings)

    @property
    def timed_out(self) -> bool:
        return any(result.outcome == "not settled" for result in self.clusters)

    @property
    def differences(self) -> bool:
        return any(machine.fate != "left" for result in self.clusters for machine in result.machines) or any(
            result.why or result.infrastructure for result in self.clusters
        )
