"""Which Kubernetes version a cluster's objects want and run, and how old machines become new ones.

A version goes from the Cluster's topology to the control plane, and from there to the
MachineDeployments, each when Cluster API finds the one before it stable. ``TopologyReconciled``
is true as soon as the last MachineDeployment has *taken over* the version, with old machines
still there: only the Machines themselves say how far an upgrade is
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/exp/topology/desiredstate/desired_state.go,
``computeControlPlaneVersion`` and ``computeMachineDeploymentVersion``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capi_llm import versions
from capi_llm.contract.conditions import Object, status_of

KUBERNETES = f"{versions.GROUP}/kubernetes"
"""Label of a Cluster, and of its Fleet Cluster: the minor of its Kubernetes, ``1.33``."""

IN_MEMORY = "Dev"
"""What kinds of the in-memory provider begin with
(https://github.com/kubernetes-sigs/cluster-api/tree/v1.10.7/test/infrastructure/docker/api/v1beta1)."""

CONCURRENCY = "topology.cluster.x-k8s.io/upgrade-concurrency"
"""Annotation of a Cluster: how many of its MachineDeployments are upgraded at once; 1 without it."""

DEFER = "topology.cluster.x-k8s.io/defer-upgrade"
HOLD = "topology.cluster.x-k8s.io/hold-upgrade-sequence"
"""Annotations of a pool of the topology that keep its version back; HOLD also that of pools after it."""


@dataclass(frozen=True)
class Strategy:
    """How machines are replaced: ``RollingUpdate`` or ``OnDelete``, with both bounds in machines."""

    kind: str
    surge: int
    unavailable: int


def topology_version(cluster: Object) -> str:
    """The version that a Cluster's topology asks for; empty without topology."""
    return str(((cluster.get("spec") or {}).get("topology") or {}).get("version") or "")


def in_memory(cluster: Object) -> bool:
    """Whether its machines are those of the in-memory provider, which answers for kubelets, pods and API
    servers without there being any."""
    reference = (cluster.get("spec") or {}).get("infrastructureRef") or {}
    return str(reference.get("kind", "")).startswith(IN_MEMORY)


def kubernetes(cluster: Object) -> str:
    """The Kubernetes minor of a Cluster, ``1.33``: of its topology, else of its label; empty: not known."""
    found = minor(topology_version(cluster))
    return found or str((cluster["metadata"].get("labels") or {}).get(KUBERNETES) or "")


def minor(version: str) -> str:
    """``1.33`` of ``v1.33.0``; empty for what is no version."""
    try:
        return versions.parse(version).line
    except ValueError:
        return ""


def control_plane_versions(obj: Object) -> tuple[str, str]:
    """The version that a control plane wants, and the lowest that its machines run; empty: not known."""
    return str((obj.get("spec") or {}).get("version") or ""), str(status_of(obj).get("version") or "")


def pool_version(deployment: Object) -> str:
    """The version that new machines of a MachineDeployment get."""
    return str(_template(deployment).get("version") or "")


def machine_version(machine: Object) -> str:
    """The version that a Machine was made with."""
    return str((machine.get("spec") or {}).get("version") or "")


def kubelet_version(machine: Object) -> str:
    """What the Machine's kubelet says that it is; empty where it says nothing (simulated machines)."""
    return str((status_of(machine).get("nodeInfo") or {}).get("kubeletVersion") or "")


def upgrade_concurrency(cluster: Object) -> int:
    """How many MachineDeployments of a Cluster are upgraded at once."""
    annotations = (cluster.get("metadata") or {}).get("annotations") or {}
    try:
        return max(1, int(annotations.get(CONCURRENCY, "1")))
    except ValueError:
        return 1


def held_back(entries: list[dict[str, Any]]) -> dict[str, str]:
    """Pools of the topology whose version is kept back, with the annotation that does it and its pool."""
    held: dict[str, str] = {}
    holder = ""
    for entry in entries:
        annotations: Mapping[str, str] = (entry.get("metadata") or {}).get("annotations") or {}
        name = str(entry["name"])
        if HOLD in annotations:
            holder = holder or name
        if DEFER in annotations:
            held[name] = f"{DEFER} of pool {name}"
        elif holder:
            held[name] = f"{HOLD} of pool {holder}"
    return held


def control_plane_strategy(obj: Object) -> Strategy:
    """How a KubeadmControlPlane replaces its machines: one by one; surge 0 deletes the old one first."""
    rollout = (obj.get("spec") or {}).get("rolloutStrategy") or {}
    surge = (rollout.get("rollingUpdate") or {}).get("maxSurge")
    surge = 1 if surge is None else _count(surge, 1, up=True)
    return Strategy(str(rollout.get("type") or "RollingUpdate"), surge, 0 if surge else 1)


def pool_strategy(deployment: Object) -> Strategy:
    """How a MachineDeployment replaces its machines; percentages are of its replicas.

    Rounded as by ``ResolveFenceposts`` in
    https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/internal/controllers/machinedeployment/mdutil/util.go.
    """
    spec = deployment.get("spec") or {}
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    replicas = int(spec.get("replicas") or 0)
    surge = _count(rolling.get("maxSurge", 1), replicas, up=True)
    unavailable = _count(rolling.get("maxUnavailable", 0), replicas, up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Strategy(str(strategy.get("type") or "RollingUpdate"), surge, unavailable)


def _template(deployment: Object) -> Mapping[str, Any]:
    template = (deployment.get("spec") or {}).get("template") or {}
    found: Mapping[str, Any] = template.get("spec") or {}
    return found


def _count(value: Any, replicas: int, *, up: bool) -> int:
    text = str(value)
    if not text.endswith("%"):
        return int(text)
    exact = int(text[:-1]) * replicas / 100
    return math.ceil(exact) if up else math.floor(exact)
