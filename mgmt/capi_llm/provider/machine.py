"""KwokMachine: a simulated Node in the workload cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from capi_llm.contract.conditions import deleting
from capi_llm.errors import Conflict, Refused, Unavailable
from capi_llm.kube.client import Api
from capi_llm.kube.resources import MACHINES, NODES, Object, Ref, Resource
from capi_llm.provider.kinds import node, owner, provider_id
from capi_llm.provider.world import Condition, World
from capi_llm.sandbox.parts import LOOPBACK

_CONFIGS = Resource("bootstrap.cluster.x-k8s.io", "v1beta1", "kubeadmconfigs", "KubeadmConfig")


def reconcile(world: World, ref: Ref) -> float | None:
    """Look at it once; in how many seconds again, None: when something changes."""
    obj = world.find(ref)
    if obj is None or world.paused(obj):
        return None
    cluster, mine = world.cluster(obj), owner(obj, "Machine")
    if deleting(obj):
        if cluster is not None and not deleting(cluster):
            _remove_node(world, ref, cluster)
        world.let_go(ref, obj)
        return None
    machine = world.find(Ref(MACHINES, mine["name"], ref.namespace)) if mine else None
    if cluster is None or machine is None:
        return None
    world.hold(ref, obj)
    if (obj.get("status") or {}).get("ready"):
        return None  # a kubelet registers its Node once, too
    missing = _missing(cluster, machine)
    if missing:
        world.set_status(ref, obj, {"ready": False}, Condition("Ready", False, "Waiting", missing))
        return None
    _make_node(world, ref, obj, cluster, machine)
    world.set_spec(ref, obj, {"providerID": provider_id(ref)})
    addresses = [{"type": "Hostname", "address": ref.name}, {"type": "InternalIP", "address": LOOPBACK}]
    status = {"ready": True, "addresses": addresses}
    world.set_status(ref, obj, status, Condition("Ready", True, "Provisioned"))
    return None


def _missing(cluster: Object, machine: Object) -> str:
    if not (cluster.get("status") or {}).get("infrastructureReady"):
        return "waits for the cluster's infrastructure"
    if not ((machine.get("spec") or {}).get("bootstrap") or {}).get("dataSecretName"):
        return "waits for its bootstrap data"
    return ""


def _make_node(world: World, ref: Ref, obj: Object, cluster: Object, machine: Object) -> None:
    config = (machine["spec"].get("bootstrap") or {}).get("configRef") or {}
    found = None
    if config.get("kind") == _CONFIGS.kind:
        found = world.api.find(Ref(_CONFIGS, config["name"], ref.namespace))
    wanted = node(ref, obj.get("spec") or {}, str(machine["spec"].get("version") or ""), found)
    with _workload_api(world, cluster) as api:
        try:
            api.create(NODES, wanted)
        except Conflict:
            there = api.get(Ref(NODES, ref.name))
            if (there.get("spec") or {}).get("providerID") != provider_id(ref):
                raise Refused(
                    f"the workload cluster has another Node {ref.name}",
                    on=str(ref),
                    why=f"its providerID is {(there.get('spec') or {}).get('providerID')!r}",
                    fix="delete that Node, or this Machine",
                ) from None


def _remove_node(world: World, ref: Ref, cluster: Object) -> None:
    """Delete the Node. One whose API server is gone for good needs no deletion."""
    if world.workloads.find(cluster["metadata"]["uid"]) is None:
        return
    with _workload_api(world, cluster) as api:
        api.delete(Ref(NODES, ref.name))


@contextlib.contextmanager
def _workload_api(world: World, cluster: Object) -> Iterator[Api]:
    """The workload cluster's API server. Raises Unavailable where it is not started yet, or away."""
    workload = world.workloads.find(cluster["metadata"]["uid"])
    if workload is None or not workload.kube_system:
        raise Unavailable("the workload cluster's API server is not there yet")
    with Api.from_kubeconfig(world.workloads.layout(workload).admin_kubeconfig, retry_for=0) as api:
        yield api
