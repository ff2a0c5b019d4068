"""KwokControlPlane: the processes, their Secrets, and what Cluster API reads of them."""

from __future__ import annotations

from capi_llm import versions
from capi_llm.contract.conditions import deleting, generation
from capi_llm.kube.resources import MACHINES, Object, Ref
from capi_llm.provider.kinds import KWOK_CONTROL_PLANES, cluster_of, owner
from capi_llm.provider.startup import bring_up
from capi_llm.provider.world import Condition, World
from capi_llm.sandbox import configuration, pki
from capi_llm.sandbox.workload import Workload
from capi_llm.waiting import Status

STARTING_SECONDS = 0.2
"""Between two looks while it starts."""

STEADY_SECONDS = 5.0
"""Between two looks at one that runs: a process that died makes no event."""

_DOMAIN = {"services": "10.96.0.0/24", "pods": "192.168.0.0/16"}
"""Networks of a Cluster that names none."""


def reconcile(world: World, ref: Ref) -> float | None:
    """Look at it once; in how many seconds again, None: when something changes."""
    obj = world.find(ref)
    if obj is None or world.paused(obj):
        return None
    if deleting(obj):
        return _delete(world, ref, obj)
    cluster, mine = world.cluster(obj), owner(obj, "Cluster")
    if cluster is None or mine is None or cluster["metadata"]["uid"] != mine["uid"]:
        return None
    if deleting(cluster) and world.workloads.find(mine["uid"]) is None:
        return None  # nothing is begun any more
    world.hold(ref, obj)
    workload = reserve(world, cluster)
    status = bring_up(world.workloads, workload)
    workload = world.workloads.find(workload.uid) or workload  # with what was found out
    if status.ready:
        _publish(world, workload, obj)
    _say(world, ref, obj, workload, status)
    return STEADY_SECONDS if status.ready or status.failed else STARTING_SECONDS


def reserve(world: World, cluster: Object) -> Workload:
    """The folder and the ports of ``cluster``; both of its objects may ask first."""
    network = cluster["spec"].get("clusterNetwork") or {}
    metadata = cluster["metadata"]
    cidrs = {
        name: ",".join((network.get(name) or {}).get("cidrBlocks") or ()) or usual
        for name, usual in _DOMAIN.items()
    }
    return world.workloads.reserve(
        metadata["uid"],
        metadata["name"],
        metadata["namespace"],
        services=cidrs["services"],
        pods=cidrs["pods"],
    )


def _delete(world: World, ref: Ref, obj: Object) -> float | None:
    """End the processes; not before the cluster's machines are gone, which Cluster API still talks to."""
    mine, name = owner(obj, "Cluster"), cluster_of(obj)
    if name and any(True for _ in world.of_cluster(MACHINES, ref.namespace or "", name)):
        return 1.0
    others = world.of_cluster(KWOK_CONTROL_PLANES, ref.namespace or "", name)
    if mine is not None and all(deleting(other) for other in others):
        remove(world, mine["uid"])
    world.let_go(ref, obj)
    return None


def remove(world: World, uid: str) -> None:
    """End the processes of the Cluster ``uid`` and remove its folder."""
    workload = world.workloads.find(uid)
    if workload is not None:
        world.workloads.remove(world.workloads.layout(workload).root)


def _publish(world: World, workload: Workload, obj: Object) -> None:
    layout = world.workloads.layout(workload)
    port = workload.ports["kube-apiserver"]
    kubeconfig = configuration.client_kubeconfig(layout, port, "admin", workload.name)
    ca = {"tls.crt": pki.authority_pem(layout), "tls.key": layout.key(pki.CA).read_text()}
    # The authority first: who finds the kubeconfig may ask for it at once.
    world.publish(f"{workload.name}-ca", workload.name, obj, ca)
    world.publish(f"{workload.name}-kubeconfig", workload.name, obj, {"value": kubeconfig})


def _say(world: World, ref: Ref, obj: Object, workload: Workload, status: Status) -> None:
    spec, before = obj.get("spec") or {}, obj.get("status") or {}
    count = 1 if status.ready else 0
    reason = "Running" if status.ready else "OtherCluster" if status.failed else "NotRunning"
    message = "; ".join(filter(None, (status.message, status.cause)))
    wanted = {
        "ready": status.ready,
        "version": spec.get("version"),
        "serverVersion": versions.KUBERNETES,
        "kubeSystemUID": workload.kube_system,
        "externalManagedControlPlane": True,
        "replicas": 1,
        "readyReplicas": count,
        "updatedReplicas": 1,
        "unavailableReplicas": 1 - count,
        "observedGeneration": generation(obj),
    }
    if status.ready:
        # Once it is there, Cluster API does not take it back: later it is not healthy.
        wanted["initialized"] = True
    else:
        # A version that no healthy control plane has taken over keeps Cluster API from going on.
        wanted["version"] = before.get("version")
    if wanted["version"] is None:
        del wanted["version"]
    world.set_status(
        ref, obj, wanted, Condition("Available", status.ready, reason, "" if status.ready else message)
    )
