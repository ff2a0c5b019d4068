"""Objects → one tree per cluster, with a verdict and the root cause. Pure, but for :func:`collect`.

A cluster is ready when its topology is reconciled at the newest generation, its control
plane has all machines ready, and every pool has as many machines ready and up to date as
it wants, within its range. Cluster API's own ``Ready`` is true before the workers are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from capi_llm.clusters.topology import class_of, pool_entries, scaled_range
from capi_llm.clusters.view import (
    ClusterView,
    ControlPlaneView,
    MachineView,
    Node,
    PoolView,
    as_json,
    nodes,
)
from capi_llm.contract import capi
from capi_llm.contract.conditions import Replicas, deleting, replicas
from capi_llm.errors import NotFound
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.resources import (
    CLUSTERS,
    KUBEADM_CONTROL_PLANES,
    MACHINE_DEPLOYMENTS,
    MACHINES,
    Object,
    Resource,
)
from capi_llm.provider.kinds import KWOK_CONTROL_PLANES
from capi_llm.waiting import State, Status, pending

__all__ = [
    "CLUSTER_NAME",
    "CONTROL_PLANES",
    "POOL_NAME",
    "ClusterView",
    "ControlPlaneView",
    "MachineView",
    "Node",
    "Objects",
    "PoolView",
    "as_json",
    "collect",
    "control_plane_of",
    "find",
    "listed",
    "nodes",
    "overview",
    "resource_of",
    "view",
]

CLUSTER_NAME = "cluster.x-k8s.io/cluster-name"
POOL_NAME = "topology.cluster.x-k8s.io/deployment-name"
DEPLOYMENT_NAME = "cluster.x-k8s.io/deployment-name"

CONTROL_PLANES: tuple[Resource, ...] = (KUBEADM_CONTROL_PLANES, KWOK_CONTROL_PLANES)
"""Kinds of control planes that are looked at; more of them may be given to :func:`collect`."""

_ONLY_IN_SANDBOXES = {KWOK_CONTROL_PLANES}


@dataclass(frozen=True)
class Objects:
    """What a tree is built from; objects of other clusters may be among them."""

    clusters: Sequence[Object] = ()
    control_planes: Sequence[Object] = ()
    machine_deployments: Sequence[Object] = ()
    machines: Sequence[Object] = ()


def collect(
    source: Api | Informers, namespace: str | None, extra: Sequence[Resource] = (), *, timeout: float = 30.0
) -> Objects:
    """The objects, asked for now or as the informers know them. ``extra`` are more control plane kinds.

    ``timeout`` (seconds) is for the first list of an informer.
    """

    def items(resource: Resource) -> list[Object]:
        return listed(source, resource, namespace, timeout=timeout)

    kinds = (MACHINES, CLUSTERS, MACHINE_DEPLOYMENTS, *CONTROL_PLANES, *extra)
    with ThreadPoolExecutor(len(kinds), thread_name_prefix="list") as pool:
        machines, clusters, deployments, *control_planes = pool.map(items, kinds)
    return Objects(clusters, [obj for each in control_planes for obj in each], deployments, machines)


def listed(
    source: Api | Informers, resource: Resource, namespace: str | None, *, timeout: float = 30.0
) -> list[Object]:
    """All objects of a kind; none where it is a kind that only sandboxes have, and this is not one."""
    try:
        if isinstance(source, Informers):
            return source.of(resource, namespace, timeout=timeout).items()
        return source.list(resource, namespace, slim=True)
    except NotFound:
        if resource in _ONLY_IN_SANDBOXES:
            return []
        raise


def resource_of(control_plane: Object) -> Resource:
    """The resource of one of :data:`CONTROL_PLANES`."""
    return next(kind for kind in CONTROL_PLANES if kind.kind == control_plane["kind"])


def control_plane_of(cluster: Object, control_planes: Iterable[Object]) -> Object | None:
    """The one that a Cluster refers to; None where it is not among them.

    The label alone is also that of one which Cluster API lost sight of (:mod:`~capi_llm.clusters.abandoned`).
    """
    wanted = _reference(cluster)
    return next((obj for obj in control_planes if (obj["kind"], *_key(obj)) == wanted), None)


def overview(objects: Objects) -> list[ClusterView]:
    """All clusters, by namespace and name."""
    deployments, machines = _by_cluster(objects.machine_deployments), _by_cluster(objects.machines)
    control_planes: dict[tuple[str, str], list[Object]] = {}
    for obj in objects.control_planes:
        control_planes.setdefault(_key(obj), []).append(obj)
    views = []
    for cluster in sorted(objects.clusters, key=_key):
        own = Objects(
            (cluster,),
            control_planes.get(_reference(cluster)[1:], ()),
            deployments.get(_key(cluster), ()),
            machines.get(_key(cluster), ()),
        )
        views.append(view(cluster, own))
    return views


def find(objects: Objects, name: str, namespace: str) -> ClusterView | None:
    """The view of one cluster, or None where there is no such Cluster."""
    found = [cluster for cluster in objects.clusters if _key(cluster) == (namespace, name)]
    return view(found[0], objects) if found else None


def view(cluster: Object, objects: Objects) -> ClusterView:
    """The tree of one cluster."""
    machines = _by_cluster(objects.machines).get(_key(cluster), [])
    deployments = _by_cluster(objects.machine_deployments).get(_key(cluster), [])
    control_plane = _control_plane(cluster, objects, machines)
    pools = _pools(cluster, deployments, machines)
    return ClusterView(
        name=cluster["metadata"]["name"],
        namespace=_namespace(cluster),
        cluster_class=class_of(cluster),
        version=str(((cluster.get("spec") or {}).get("topology") or {}).get("version") or ""),
        phase=capi.phase(cluster),
        status=_verdict(cluster, control_plane, pools),
        infrastructure=capi.infrastructure(cluster),
        control_plane=control_plane,
        pools=pools,
    )


def _verdict(cluster: Object, control_plane: ControlPlaneView, pools: Iterable[PoolView]) -> Status:
    own = capi.cluster(cluster)
    if own.failed or deleting(cluster) or capi.paused(cluster):
        return own
    problem = capi.topology(cluster)
    if problem is not None and not capi.topology_waits(cluster):
        return problem
    if not (infrastructure := capi.infrastructure(cluster)).ready:
        return pending(f"infrastructure: {infrastructure.message}", cause=infrastructure.cause)
    if not control_plane.status.ready:
        return _because("control plane", control_plane.status, control_plane.machines)
    for pool in pools:
        if not pool.status.ready:
            return _because(f"pool {pool.name}", pool.status, pool.machines)
    return own


def _because(what: str, status: Status, machines: Iterable[MachineView]) -> Status:
    """``status`` of ``what``, with the first machine that is behind it."""
    if status.failed:
        return Status(State.FAILED, f"{what}: {status.message}", status.cause, status.fix)
    for machine in machines:
        if not machine.status.ready:
            return pending(
                f"{what}: machine {machine.name}: {machine.status.message}", cause=machine.status.cause
            )
    return pending(f"{what}: {status.message}", cause=status.cause, fix=status.fix)


def _control_plane(cluster: Object, objects: Objects, machines: Sequence[Object]) -> ControlPlaneView:
    kind, _, name = _reference(cluster)
    own = _machines(
        obj for obj in machines if capi.CONTROL_PLANE_MACHINE in (obj["metadata"].get("labels") or {})
    )
    if (obj := control_plane_of(cluster, objects.control_planes)) is not None:
        return ControlPlaneView(kind, name, replicas(obj), capi.control_plane(obj), own)
    wanted = ((cluster.get("spec") or {}).get("topology") or {}).get("controlPlane") or {}
    count = Replicas(desired=int(wanted.get("replicas") or 1), current=len(own))
    if not name:
        return ControlPlaneView("", "", count, pending("is not created yet"), own)
    # Of a kind that is not looked at: what the Cluster itself says has to do.
    status = capi.cluster_control_plane(cluster)
    if status.ready:
        count = Replicas(count.desired, count.desired, count.desired, count.desired, count.desired)
    return ControlPlaneView(kind, name, count, status, own)


def _pools(
    cluster: Object, deployments: Sequence[Object], machines: Sequence[Object]
) -> tuple[PoolView, ...]:
    by_pool = {_pool_name(obj): obj for obj in deployments}
    existing = set(by_pool)
    has_topology = bool((cluster.get("spec") or {}).get("topology"))
    views = [
        _wanted_pool(entry, by_pool.pop(entry["name"], None), machines) for entry in pool_entries(cluster)
    ]
    for name, deployment in sorted(by_pool.items()):
        other = _pool(name, "", None, deployment, machines)
        views.append(replace(other, status=pending("is being removed")) if has_topology else other)
    if deleting(cluster):
        return tuple(each for each in views if each.name in existing)
    if not capi.control_plane_initialized(cluster):
        waiting = pending("waits for the control plane")
        views = [each if each.status.ready else replace(each, status=waiting) for each in views]
    return tuple(views)


def _wanted_pool(entry: dict[str, Any], deployment: Object | None, machines: Sequence[Object]) -> PoolView:
    span = scaled_range((entry.get("metadata") or {}).get("annotations") or {})
    if entry.get("replicas") is not None:
        span = (int(entry["replicas"]), int(entry["replicas"]))
    if deployment is None:
        missing = pending("is not created yet")
        low, high = span or (None, None)
        return PoolView(
            entry["name"], entry.get("class", ""), low, high, Replicas(desired=low or 0), missing, ()
        )
    return _pool(entry["name"], entry.get("class", ""), span, deployment, machines)


def _pool(
    name: str,
    worker_class: str,
    span: tuple[int, int] | None,
    deployment: Object,
    machines: Sequence[Object],
) -> PoolView:
    span = span or scaled_range(deployment["metadata"].get("annotations") or {})
    low, high = span or (None, None)
    count, status = replicas(deployment), capi.machine_deployment(deployment)
    if status.ready and span is not None and not span[0] <= count.desired <= span[1]:
        status = pending(
            f"wants {count.desired} machines, its range is {low}..{high}",
            cause="the range was changed and the pool was not scaled",
            fix=f"capi-llm scale {_label(deployment, CLUSTER_NAME)} --workers {low}..{high} --pool {name}",
        )
    owned = (obj for obj in machines if _label(obj, DEPLOYMENT_NAME) == deployment["metadata"]["name"])
    return PoolView(name, worker_class, low, high, count, status, _machines(owned))


def _machines(machines: Iterable[Object]) -> tuple[MachineView, ...]:
    return tuple(
        MachineView(
            name=obj["metadata"]["name"],
            phase=capi.phase(obj),
            version=str((obj.get("spec") or {}).get("version") or ""),
            node=capi.node(obj),
            leaving=capi.leaving(obj),
            status=capi.machine(obj),
            certificates=str((obj.get("status") or {}).get("certificatesExpiryDate") or ""),
        )
        for obj in sorted(machines, key=lambda obj: str(obj["metadata"]["name"]))
    )


def _by_cluster(objects: Iterable[Object]) -> dict[tuple[str, str], list[Object]]:
    found: dict[tuple[str, str], list[Object]] = {}
    for obj in objects:
        found.setdefault((_namespace(obj), str(obj["spec"].get("clusterName", ""))), []).append(obj)
    return found


def _key(obj: Object) -> tuple[str, str]:
    return _namespace(obj), str(obj["metadata"]["name"])


def _reference(cluster: Object) -> tuple[str, str, str]:
    """Kind, namespace and name of the control plane that a Cluster refers to."""
    found = (cluster.get("spec") or {}).get("controlPlaneRef") or {}
    return str(found.get("kind", "")), _namespace(cluster), str(found.get("name", ""))


def _pool_name(deployment: Object) -> str:
    return _label(deployment, POOL_NAME) or str(deployment["metadata"]["name"])


def _label(obj: Object, key: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(key, ""))


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace") or "default")
