"""What is known of a cluster, as plain data: for people as lines of a tree, for programs as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from capi_llm.contract.conditions import Replicas
from capi_llm.waiting import Status


@dataclass(frozen=True)
class MachineView:
    """One machine; ``node`` is empty until it has one. ``leaving``: deleted, or to be replaced."""

    name: str
    phase: str
    version: str
    node: str
    leaving: bool
    status: Status
    certificates: str = ""
    """Until when the certificates of a control-plane machine are valid, as the server writes it."""


@dataclass(frozen=True)
class ControlPlaneView:
    """The control plane, with its machines."""

    kind: str
    name: str
    count: Replicas
    status: Status
    machines: tuple[MachineView, ...]


@dataclass(frozen=True)
class PoolView:
    """A pool of workers. ``minimum`` and ``maximum`` are None where nothing says a range."""

    name: str
    worker_class: str
    minimum: int | None
    maximum: int | None
    count: Replicas
    status: Status
    machines: tuple[MachineView, ...]


@dataclass(frozen=True)
class ClusterView:
    """One cluster. ``status`` is the verdict, its message the root cause."""

    name: str
    namespace: str
    cluster_class: str
    version: str
    phase: str
    status: Status
    infrastructure: Status
    control_plane: ControlPlaneView
    pools: tuple[PoolView, ...]
    beside: tuple[Node, ...] = ()
    """What else stands for the cluster on its plane: in Rancher, in Fleet."""

    simulated: str = ""
    """What of it is simulated; nothing elsewhere than in a sandbox."""


@dataclass(frozen=True)
class Node:
    """A line of the tree for people."""

    label: str
    status: Status
    children: tuple[Node, ...] = ()


def nodes(cluster: ClusterView, *, versions: bool = False) -> Node:
    """The tree of lines: cluster, infrastructure, control plane and pools with their machines.

    ``versions`` adds each machine's, as they differ in an upgrade.
    """

    def machines(views: Iterable[MachineView]) -> tuple[Node, ...]:
        return tuple(Node(_label(each, versions=versions), each.status) for each in views)

    plane = cluster.control_plane
    children = [
        Node("Infrastructure", cluster.infrastructure),
        Node(
            f"Control plane {plane.count.ready}/{plane.count.desired}", plane.status, machines(plane.machines)
        ),
    ]
    for pool in cluster.pools:
        span = f" ({_range(pool)})" if pool.minimum is not None else ""
        label = f"Pool {pool.name} {pool.count.ready}/{pool.count.desired}{span}"
        children.append(Node(label, pool.status, machines(pool.machines)))
    children += cluster.beside
    return Node(f"Cluster {cluster.namespace}/{cluster.name}", cluster.status, tuple(children))


def as_json(cluster: ClusterView) -> dict[str, Any]:
    """The cluster's part of ``status -o json``."""
    plane = cluster.control_plane.count
    beside = [
        {
            "name": node.label,
            "ready": node.status.ready,
            "message": node.status.message,
            "fix": node.status.fix,
        }
        for node in cluster.beside
    ]
    until = [each.certificates for each in cluster.control_plane.machines if each.certificates]
    return {
        "name": cluster.name,
        "namespace": cluster.namespace,
        "class": cluster.cluster_class,
        "version": cluster.version,
        "ready": cluster.status.ready,
        "phase": cluster.phase,
        "control_plane": {"desired": plane.desired, "ready": plane.ready}
        | ({"certificatesUntil": min(until)} if until else {}),
        "workers": [
            {
                "name": pool.name,
                "min": pool.minimum,
                "max": pool.maximum,
                "desired": pool.count.desired,
                "ready": pool.count.ready,
            }
            for pool in cluster.pools
        ],
        "message": cluster.status.message,
        "simulated": cluster.simulated,
        **({"imports": beside} if beside else {}),
    }


def _label(machine: MachineView, *, versions: bool) -> str:
    words = [f"Machine {machine.name}", *([machine.version] if versions else ())]
    if machine.certificates:
        words.append(f"(certificates until {machine.certificates[:10]})")
    return " ".join(words)


def _range(pool: PoolView) -> str:
    return str(pool.minimum) if pool.minimum == pool.maximum else f"{pool.minimum}..{pool.maximum}"
