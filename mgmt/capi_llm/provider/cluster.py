"""KwokCluster: where the API server listens, and when Cluster API may turn to it."""

from __future__ import annotations

from capi_llm.contract.conditions import deleting
from capi_llm.kube.resources import Ref
from capi_llm.provider.control_plane import remove, reserve
from capi_llm.provider.kinds import KWOK_CONTROL_PLANES, cluster_of, owner
from capi_llm.provider.world import Condition, World
from capi_llm.sandbox.parts import LOOPBACK


def reconcile(world: World, ref: Ref) -> float | None:
    """Look at it once; in how many seconds again, None: when something changes."""
    obj = world.find(ref)
    if obj is None or world.paused(obj):
        return None
    mine, name = owner(obj, "Cluster"), cluster_of(obj)
    planes = list(world.of_cluster(KWOK_CONTROL_PLANES, ref.namespace or "", name)) if name else []
    if deleting(obj):
        if planes:
            return 1.0  # its processes have the ports still
        if mine is not None:
            remove(world, mine["uid"])
        world.let_go(ref, obj)
        return None
    cluster = world.cluster(obj)
    if cluster is None or mine is None or cluster["metadata"]["uid"] != mine["uid"]:
        return None
    if deleting(cluster):
        return None  # its control plane may be gone already, and gets no second one
    world.hold(ref, obj)
    port = reserve(world, cluster).ports["kube-apiserver"]
    world.set_spec(ref, obj, {"controlPlaneEndpoint": {"host": LOOPBACK, "port": port}})
    # Once it was ready it stays so: the control plane's own state says what is wrong later.
    ready = bool((obj.get("status") or {}).get("ready")) or any(
        (plane.get("status") or {}).get("initialized") for plane in planes
    )
    condition = (
        Condition("Ready", True, "Provisioned")
        if ready
        else Condition("Ready", False, "WaitingForControlPlane", "waits for the control plane to start")
    )
    world.set_status(ref, obj, {"ready": ready}, condition)
    return None
