"""Cluster API objects, one at a time: Cluster, control plane, MachineDeployment, Machine, ClusterClass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capi_llm.contract.conditions import (
    Condition,
    Object,
    conditions,
    deleting,
    finalizers,
    new_dialect,
    observed,
    replicas,
    root_cause,
    status_of,
    words,
)
from capi_llm.versions import GROUP
from capi_llm.waiting import Status, failed, pending, ready

CLUSTER_FINALIZER = "cluster.cluster.x-k8s.io"
KWOK_FINALIZER = f"{GROUP}/kwok-provider"
PAUSED = "cluster.x-k8s.io/paused"
CONTROL_PLANE_MACHINE = "cluster.x-k8s.io/control-plane"
"""Label of machines that are part of a control plane."""

# What is looked at, in the order in which it comes about: the first that is not true is the cause.
_CLUSTER = (
    "InfrastructureReady",
    "ControlPlaneInitialized",
    "ControlPlaneAvailable",
    "RemoteConnectionProbe",
    "WorkersAvailable",
    "Available",
)
_CLUSTER_OLD = ("InfrastructureReady", "ControlPlaneInitialized", "ControlPlaneReady", "Ready")
_CONTROL_PLANE = (
    "CertificatesAvailable",
    "Initialized",
    "EtcdClusterHealthy",
    "ControlPlaneComponentsHealthy",
    "Available",
)
_MACHINE = (
    "BootstrapConfigReady",
    "InfrastructureReady",
    "NodeHealthy",
    "HealthCheckSucceeded",
    "Ready",
    "UpToDate",
)
_MACHINE_OLD = ("BootstrapReady", "InfrastructureReady", "NodeHealthy", "Ready")

_ALWAYS_COMPUTED = ("Ready", "Available")

_OWNERS = {
    CLUSTER_FINALIZER: "the Cluster API core controller",
    "machine.cluster.x-k8s.io": "the Cluster API core controller",
    "cluster.x-k8s.io/machinedeployment": "the Cluster API core controller",
    "cluster.x-k8s.io/machineset": "the Cluster API core controller",
    "machinedeployment.topology.cluster.x-k8s.io": "the Cluster API topology controller",
    "machineset.topology.cluster.x-k8s.io": "the Cluster API topology controller",
    "machinepool.cluster.x-k8s.io": "the Cluster API core controller",
    "addons.cluster.x-k8s.io": "the ClusterResourceSet controller",
    "kubeadm.controlplane.cluster.x-k8s.io": "the kubeadm control plane controller",
    "capicluster.turtles.cattle.io": "Rancher Turtles",
    KWOK_FINALIZER: "the sandbox's KWOK provider, kwok-provider",
    "foregroundDeletion": "Kubernetes' garbage collector",
    "orphan": "Kubernetes' garbage collector",
}


def holder(finalizer: str) -> str:
    """Which controller has to take ``finalizer`` away."""
    if finalizer in _OWNERS:
        return _OWNERS[finalizer]
    if finalizer.endswith(".infrastructure.cluster.x-k8s.io"):
        return "the infrastructure provider"
    if finalizer.endswith(".turtles.cattle.io"):
        return "Rancher Turtles"
    if finalizer.endswith("cattle.io"):
        return "Rancher"
    return f"whoever owns {finalizer}"


def held_by(obj: Object) -> str:
    """``finalizer (controller)`` of everything that still holds ``obj``; empty where nothing does."""
    return ", ".join(f"{name} ({holder(name)})" for name in finalizers(obj))


def waits_for(obj: Object) -> str:
    """What the controller of an object that is being deleted says it waits for; empty if nothing."""
    condition = conditions(obj).get("Deleting")
    if not deleting(obj) or condition is None or not condition.true:
        return ""
    return " ".join(condition.message.replace("* ", "").split())


def paused(obj: Object) -> bool:
    """Whether controllers leave the object alone, by ``spec.paused`` or the annotation."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    return bool((obj.get("spec") or {}).get("paused")) or PAUSED in annotations


def phase(obj: Object) -> str:
    """The object's phase, for people; ``Deleting`` wins, ``Pending`` where there is none yet."""
    if deleting(obj):
        return "Deleting"
    return str(status_of(obj).get("phase") or "Pending")


def cluster(obj: Object) -> Status:
    """A Cluster by its own conditions. Workers' counts are not in here: look at their pools too."""
    name = obj["metadata"]["name"]
    if (stopped := _stopped(obj, f"cluster {name}")) is not None:
        return stopped
    if (problem := topology(obj)) is not None:
        return problem
    found = conditions(obj)
    if not observed(obj):
        return pending("the newest change is not seen by the controller yet")
    return _first_problem(found, _CLUSTER if new_dialect(obj) else _CLUSTER_OLD) or ready()


def topology(obj: Object) -> Status | None:
    """What is wrong with a Cluster's topology; None where it is reconciled, or there is none."""
    if not (obj.get("spec") or {}).get("topology"):
        return None
    condition = conditions(obj).get("TopologyReconciled")
    if condition is None:
        return pending("the topology is not reconciled yet")
    if condition.stale:
        return pending("the newest change of the topology is not reconciled yet")
    if condition.true:
        return None
    cause = ""
    if condition.reason in ("ReconcileFailed", "TopologyReconcileFailed"):
        cause = "the ClusterClass, a variable or a webhook refuses the topology"
    elif condition.reason in ("ClusterClassNotReconciled",):
        cause = "the ClusterClass itself is not ready"
    return pending(f"topology: {root_cause(condition.message) or words(condition.reason)}", cause=cause)


def topology_waits(obj: Object) -> bool:
    """Whether the topology only waits: for its turn, or for machines that are on their way.

    The machines are the root cause then, and not what the topology says of them.
    """
    condition = conditions(obj).get("TopologyReconciled")
    if condition is None:
        return False
    return (condition.stale and condition.true) or condition.reason.endswith(("Pending", "Deferred"))


def deletable(obj: Object) -> Status:
    """Whether a Cluster is far enough to be deleted without leaving objects behind.

    One that is deleted while its topology is just being made can vanish before Cluster API
    has noticed its machines, which nobody takes care of then.
    """
    if not (obj.get("spec") or {}).get("topology") or deleting(obj):
        return ready()
    if CLUSTER_FINALIZER not in finalizers(obj):
        return pending("Cluster API has not taken charge of it yet")
    condition = conditions(obj).get("TopologyReconciled")
    if condition is None or condition.stale:
        return pending("its topology is just being reconciled")
    return ready()


def infrastructure(obj: Object) -> Status:
    """A Cluster's infrastructure: the load balancer and what else machines need first."""
    return _first_problem(conditions(obj), ("InfrastructureReady",)) or ready()


def cluster_control_plane(obj: Object) -> Status:
    """What a Cluster says of its control plane, for kinds of control planes that nobody reads."""
    name = "ControlPlaneAvailable" if new_dialect(obj) else "ControlPlaneReady"
    return _first_problem(conditions(obj), ("ControlPlaneInitialized", name)) or ready()


def control_plane_initialized(obj: Object) -> bool:
    """Whether a Cluster's first API server has answered, so that workers can join."""
    condition = conditions(obj).get("ControlPlaneInitialized")
    return condition is not None and condition.status == "True"


def control_plane(obj: Object) -> Status:
    """A control plane by its conditions and counts."""
    kind = str(obj.get("kind", "control plane"))
    if (stopped := _stopped(obj, f"{kind} {obj['metadata']['name']}")) is not None:
        return stopped
    if not observed(obj):
        return pending("the newest change is not seen by the controller yet")
    # Providers of the old contract without conditions say it in two fields.
    found = conditions(obj)
    problem = _first_problem(found, [name for name in _CONTROL_PLANE if name in found])
    if problem is None and not found and not status_of(obj).get("ready"):
        return pending("the control plane is not ready yet")
    return problem or _counted(obj) or ready()


def machine_deployment(obj: Object) -> Status:
    """A MachineDeployment by its counts and conditions."""
    if (stopped := _stopped(obj, f"MachineDeployment {obj['metadata']['name']}")) is not None:
        return stopped
    if not observed(obj):
        return pending("the newest change is not seen by the controller yet")
    if (problem := _counted(obj)) is not None:
        return problem
    found = conditions(obj)
    names = [name for name in ("Available", "MachinesUpToDate") if name in found]
    return _first_problem(found, names) or ready()


def machine(obj: Object) -> Status:
    """A Machine; the message is the first thing in its life that has not come about."""
    if deleting(obj):
        detail = waits_for(obj) or held_by(obj)
        return pending(f"is being deleted: {detail}" if detail else "is being deleted")
    if (stopped := _stopped(obj, f"Machine {obj['metadata']['name']}")) is not None:
        return stopped
    found = conditions(obj)
    chain = _MACHINE if new_dialect(obj) else _MACHINE_OLD
    problem = _first_problem(found, [name for name in chain if name in found or name == "Ready"])
    if _waits_for_itself(obj, found):
        # Its own message says that it waits for the control plane, which it is a part of.
        return pending(
            "its API server has not answered yet",
            cause="Cluster API tries again every 30 s, every second on a sandbox",
        )
    if problem is None:
        return ready() if node(obj) else pending("has no Node yet")
    return problem


def cluster_class(obj: Object) -> Status:
    """A ClusterClass: whether its variables and references were accepted."""
    if (stopped := _stopped(obj, f"ClusterClass {obj['metadata']['name']}")) is not None:
        return stopped
    if not observed(obj) or "observedGeneration" not in status_of(obj):
        return pending("the ClusterClass is not seen by the controller yet")
    variables = "VariablesReady" if new_dialect(obj) else "VariablesReconciled"
    return _first_problem(conditions(obj), (variables, "RefVersionsUpToDate")) or ready()


def variable_definitions(obj: Object) -> dict[str, Mapping[str, Any]]:
    """A ClusterClass's variables by name: ``{required, schema}``.

    Read from the status where the controller has written it (variables of runtime extensions
    are only there), else from the spec.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for variable in (obj.get("spec") or {}).get("variables") or []:
        found[variable["name"]] = variable
    for variable in status_of(obj).get("variables") or []:
        for definition in variable.get("definitions") or []:
            found.setdefault(variable["name"], definition)
    return found


def leaving(obj: Object) -> bool:
    """Whether a Machine is being deleted or about to be replaced by one that is up to date."""
    condition = conditions(obj).get("UpToDate")
    return deleting(obj) or (condition is not None and condition.false)


def node(obj: Object) -> str:
    """The name of a Machine's Node; empty until it has one."""
    return str((status_of(obj).get("nodeRef") or {}).get("name") or "")


def _stopped(obj: Object, what: str) -> Status | None:
    """Deleting, paused or failed for good: nothing else is worth saying then."""
    if deleting(obj):
        detail = waits_for(obj)
        return pending(f"{what} is being deleted" + (f": {detail}" if detail else ""), cause=held_by(obj))
    if paused(obj):
        return pending(f"{what} is paused", cause=f"spec.paused or the annotation {PAUSED} is set")
    status = status_of(obj)
    old = (status.get("deprecated") or {}).get("v1beta1") or status
    if old.get("failureMessage") or old.get("failureReason"):
        return failed(f"{what}: {old.get('failureMessage') or old.get('failureReason')}")
    return None


def _waits_for_itself(obj: Object, found: Mapping[str, Condition]) -> bool:
    if CONTROL_PLANE_MACHINE not in ((obj.get("metadata") or {}).get("labels") or {}):
        return False
    healthy = found.get("NodeHealthy", Condition("NodeHealthy", "True"))
    before = [found[name].true for name in ("BootstrapConfigReady", "InfrastructureReady") if name in found]
    return all(before) and healthy.status == "Unknown" and healthy.reason == "InspectionFailed"


def _first_problem(found: Mapping[str, Condition], names: Sequence[str]) -> Status | None:
    for name in names:
        condition = found.get(name)
        if condition is None:
            return pending(f"{name} is not known yet")
        if condition.stale and name in _ALWAYS_COMPUTED:
            return pending(f"{name} is not known for the newest change yet")
        if condition.true:
            continue
        return pending(root_cause(condition.message) or words(condition.reason) or f"{name} is not true")
    return None


def _counted(obj: Object) -> Status | None:
    count = replicas(obj)
    if (obj.get("spec") or {}).get("replicas") is None:
        return None
    if count.current != count.desired:
        # This message also says what keeps machines from being made, such as a preflight check.
        condition = conditions(obj).get("ScalingUp" if count.current < count.desired else "ScalingDown")
        if condition is not None and condition.true and condition.message:
            return pending(root_cause(condition.message))
        return pending(f"{count.current} of {count.desired} machines exist")
    if count.up_to_date != count.desired:
        return pending(f"{count.up_to_date} of {count.desired} machines are up to date")
    if count.ready != count.desired:
        return pending(f"{count.ready} of {count.desired} machines are ready")
    return None
