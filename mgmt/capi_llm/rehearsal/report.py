"""A rehearsal as lines for people and as data for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from capi_llm import versions
from capi_llm.rehearsal.findings import Finding
from capi_llm.rehearsal.results import ClusterResult, Rehearsal
from capi_llm.rehearsal.timeline import FATES, MachineFate
from capi_llm.rehearsal.world import PoolKey

SIGNS = {"created": "+", "replaced": "±", "deleted": "-", "changed in place": "~", "left": "="}
_LEVEL_MARKS = {"error": "✗", "warning": "!", "note": "·"}

SIMULATED = (
    f"Cluster API {versions.CLUSTER_API}, its kubeadm providers, webhooks and the Kubernetes API are real; "
    "infrastructure is simulated in memory.",
    "Not seen: timing, drains and PodDisruptionBudgets, health checks, fields that a provider defaults or "
    "refuses to change, capacity, Secrets.",
)
"""What is said of every rehearsal."""


def lines(rehearsal: Rehearsal) -> list[str]:
    """The whole report."""
    found: list[str] = []
    for cluster in rehearsal.clusters:
        found += [*_cluster(cluster), ""]
    if not rehearsal.clusters:
        found += ["No cluster is touched by this change.", ""]
    for finding in rehearsal.findings:
        found += _finding(finding)
    if rehearsal.findings:
        found.append("")
    return [*found, *SIMULATED]


def verdict(cluster: ClusterResult) -> str:
    """What the change does to a cluster, in one line."""
    if cluster.outcome == "refused":
        return "the change is refused; nothing would happen"
    if cluster.outcome == "not rehearsed":
        return f"not rehearsed: {cluster.message}"
    counts = {fate: cluster.count(fate) for fate in FATES}
    there = len(cluster.machines) - counts["created"]
    parts = []
    for fate, verb in (("replaced", "replaced"), ("deleted", "deleted"), ("created", "created")):
        number = counts[fate]  # type: ignore[index]
        if number and fate != "created" and number == there:
            parts.append(
                f"all {number} machines would be {verb}"
                if number > 1
                else f"its only machine would be {verb}"
            )
        elif number:
            of = f" of {there}" if fate != "created" and not parts else ""
            parts.append(f"{number}{of} machine{_s(number if not of else there)} would be {verb}")
    if counts["changed in place"]:
        parts.append(f"{_machines(counts['changed in place'])} would be changed in place")
    if not parts:
        parts.append("no machine would be touched" if not _quiet(cluster) else "nothing would change")
    text = ", ".join(parts)
    if cluster.outcome == "failed":
        return f"the topology can not be reconciled; so far {text}"
    if cluster.outcome == "not settled":
        return f"did not come to rest ({cluster.message}); so far {text}"
    return text


def as_json(rehearsal: Rehearsal) -> dict[str, Any]:
    """What ``-o json`` shows."""
    return {
        "apiVersion": versions.API_VERSION,
        "kind": "Rehearsal",
        "before": rehearsal.source,
        "seconds": round(rehearsal.seconds, 1),
        "clusters": [_cluster_json(cluster) for cluster in rehearsal.clusters],
        "findings": [
            {"level": item.level, "code": item.code, "on": item.on, "what": item.what, "why": item.why,
             "fix": item.fix}
            for item in rehearsal.findings
        ],
        "events": [
            {"at": round(event.at, 1), "what": event.happening, "machine": event.machine,
             "namespace": event.pool.namespace, "cluster": event.pool.cluster, "pool": event.pool.pool}
            for event in rehearsal.events
        ],
        "simulated": list(SIMULATED),
    }  # fmt: skip


def _cluster_json(cluster: ClusterResult) -> dict[str, Any]:
    return {
        "namespace": cluster.key.namespace,
        "name": cluster.key.name,
        "class": cluster.cluster_class,
        "version": {"before": cluster.version[0], "after": cluster.version[1]},
        "outcome": cluster.outcome,
        "message": cluster.message,
        "verdict": verdict(cluster),
        "counts": {fate: cluster.count(fate) for fate in FATES},
        "infrastructure": list(cluster.infrastructure),
        "comeAndGone": list(cluster.passing),
        "pools": [
            {
                "name": pool.pool,
                "controlPlane": not pool.pool,
                "why": list(cluster.why.get(pool, ())),
                "machines": [
                    {"name": item.name, "simulated": item.simulated, "fate": item.fate, "replacedBy": item.by,
                     "madeAtStep": item.came, "removedAtStep": item.went, "changed": list(item.changed)}
                    for item in _of_pool(cluster, pool)
                ],
            }
            for pool in _pools(cluster)
        ],
    }  # fmt: skip


def _cluster(cluster: ClusterResult) -> Iterator[str]:
    old, new = cluster.version
    version = new if old in ("", new) else f"{old} → {new}"
    yield (
        f"Cluster {cluster.key.namespace}/{cluster.key.name} ({cluster.cluster_class}, {version}): "
        f"{verdict(cluster)}"
    )
    for text in cluster.infrastructure:
        yield f"   infrastructure changed in place: {text}"
    if cluster.passing:
        yield f"   rolled more than once: {len(cluster.passing)} machines came and went again on the way"
    pools = _pools(cluster)
    for number, pool in enumerate(pools, 1):
        last = number == len(pools)
        machines = _of_pool(cluster, pool)
        yield f"{'└─' if last else '├─'} {_pool(pool)}: {_summary(machines)}"
        indent = "   " if last else "│  "
        for text in cluster.why.get(pool, ()):
            yield f"{indent}   because {text}"
        width = max((len(machine.name) for machine in machines), default=0)
        for place, machine in enumerate(machines, 1):
            branch = "└─" if place == len(machines) else "├─"
            yield f"{indent}{branch} {SIGNS[machine.fate]} {machine.name.ljust(width)}  {_fate(machine)}"


def _fate(machine: MachineFate) -> str:
    if machine.fate == "replaced":
        return f"replaced: new machine at step {machine.came}, this one removed at step {machine.went}"
    if machine.fate == "created":
        return f"created at step {machine.came}"
    if machine.fate == "deleted":
        return f"deleted at step {machine.went}"
    return f"{machine.fate}: {'; '.join(machine.changed)}" if machine.changed else machine.fate


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{_LEVEL_MARKS[finding.level]} {finding.on}: {finding.what}"
    if finding.why:
        yield f"    why: {finding.why}"
    if finding.fix:
        yield f"    to go on: {finding.fix}"


def _summary(machines: Sequence[MachineFate]) -> str:
    counts = [(fate, sum(machine.fate == fate for machine in machines)) for fate in FATES]
    return ", ".join(f"{number} {fate}" for fate, number in counts if number) or "no machines"


def _pools(cluster: ClusterResult) -> list[PoolKey]:
    return sorted({machine.pool for machine in cluster.machines} | cluster.why.keys())


def _of_pool(cluster: ClusterResult, pool: PoolKey) -> list[MachineFate]:
    return [machine for machine in cluster.machines if machine.pool == pool]


def _pool(pool: PoolKey) -> str:
    return f"Pool {pool.pool}" if pool.pool else "Control plane"


def _quiet(cluster: ClusterResult) -> bool:
    return not cluster.why and not cluster.infrastructure


def _machines(number: int) -> str:
    return f"{number} machine{_s(number)}"


def _s(number: int) -> str:
    return "" if number == 1 else "s"
