"""Why something that Fleet delivers is not ready: state, object, reason, likely cause, what to do.

Fleet computes one state for each BundleDeployment, which is a bundle on one cluster
(``GetDeploymentState``), and puts up to ten that are not ready into the ``summary`` of Bundle,
HelmOp, Cluster and ClusterGroup
(https://github.com/rancher/fleet/blob/v0.14.0/internal/cmd/controller/summary/summary.go).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capi_llm.contract import fleet_reasons
from capi_llm.contract.conditions import Object, conditions, status_of
from capi_llm.waiting import Status, failed, pending


class BundleState(enum.StrEnum):
    """The states of Fleet, worst first; MISSING is what Fleet calls Modified where an object is gone."""

    ERR_APPLIED = "ErrApplied"
    WAIT_APPLIED = "WaitApplied"
    MISSING = "Missing"
    MODIFIED = "Modified"
    OUT_OF_SYNC = "OutOfSync"
    PENDING = "Pending"
    NOT_READY = "NotReady"
    READY = "Ready"


_RANK = {state: rank for rank, state in enumerate(BundleState)}

_AGENT_FIX = (
    "see when the agent was last seen: kubectl get clusters.fleet.cattle.io -A; and whether the Deployment "
    "fleet-agent in cattle-fleet-system on the workload cluster runs"
)

_BY_KIND = {
    "Deployment": "its pods are not ready",
    "StatefulSet": "its pods are not ready",
    "DaemonSet": "its pods are not ready",
    "ReplicaSet": "its pods are not ready",
    "Pod": "it waits for a node, an image or its probes",
    "Job": "its pods have not ended well yet",
    "PersistentVolumeClaim": "no volume is bound to it: is there a StorageClass with a provisioner?",
    "Ingress": "no ingress controller has given it an address",
}


@dataclass(frozen=True)
class Trouble:
    """One BundleDeployment that is not ready.

    ``where`` is the cluster (in the summary of a Bundle) or the bundle (in that of a cluster),
    ``obj`` the first object that is concerned, empty where Fleet names none. ``final``: waiting
    does not help.
    """

    where: str
    state: BundleState
    obj: str
    reason: str
    cause: str
    fix: str
    final: bool = False

    @property
    def message(self) -> str:
        """Everything but cause and fix, on one line."""
        about = " ".join(part for part in (self.obj, self.reason) if part)
        return f"{self.state} on {self.where}" + (f": {about}" if about else "")

    @property
    def severity(self) -> tuple[bool, int]:
        """To sort by: what waiting does not help first, then Fleet's own order."""
        return not self.final, _RANK[self.state]

    def status(self) -> Status:
        make = failed if self.final else pending
        return make(self.message, cause=self.cause, fix=self.fix)


def deployment_state(bd: Object) -> BundleState:
    """The state of a BundleDeployment, by Fleet's own arithmetic."""
    spec, status = bd.get("spec") or {}, status_of(bd)
    wanted = spec.get("deploymentID") or ""
    if (status.get("appliedDeploymentID") or "") != wanted:
        deployed = conditions(bd).get("Deployed")
        return BundleState.ERR_APPLIED if deployed and deployed.false else BundleState.WAIT_APPLIED
    if not status.get("ready"):
        return BundleState.NOT_READY
    if wanted != (spec.get("stagedDeploymentID") or ""):
        return BundleState.OUT_OF_SYNC
    if not status.get("nonModified"):
        return BundleState.MODIFIED
    return BundleState.READY


def of_deployment(bd: Object) -> Trouble | None:
    """What is wrong with a BundleDeployment; None where it is ready."""
    state = deployment_state(bd)
    if state is BundleState.READY:
        return None
    found = conditions(bd)
    messages = (found[name].message for name in ("Deployed", "Installed", "Monitored") if name in found)
    status = status_of(bd)
    entry = {
        "message": next(filter(None, messages), ""),
        "modifiedStatus": status.get("modifiedStatus"),
        "nonReadyStatus": status.get("nonReadyStatus"),
    }
    spec = bd.get("spec") or {}
    held = ""
    if spec.get("paused"):
        held = "its Bundle or its Cluster is paused (spec.paused)"
    elif spec.get("offSchedule"):
        held = "a Schedule of Fleet lets nothing through just now"
    return _explained(state, place(bd), entry, held, nothing_applied=not spec.get("deploymentID"))


def place(bd: Object) -> str:
    """``cluster NAMESPACE/NAME``, where a BundleDeployment is applied."""
    labels = (bd.get("metadata") or {}).get("labels") or {}
    prefix = "fleet.cattle.io/"
    return f"cluster {labels.get(f'{prefix}cluster-namespace', '')}/{labels.get(f'{prefix}cluster', '')}"


def of_summary(obj: Object, what: str, held: str = "") -> list[Trouble]:
    """What a summary says is not ready, worst first. ``what`` the names in it are: cluster or bundle.

    ``held`` is why updates are held back, where the caller knows. States that the summary only
    counts, as it has room for ten, are told with their number.
    """
    summary = status_of(obj).get("summary") or {}
    found = []
    for entry in summary.get("nonReadyResources") or []:
        state = _state(str(entry.get("bundleState") or ""))
        if state is not None and state is not BundleState.READY:
            found.append(_explained(state, f"{what} {entry.get('name', '')}", entry, held))
    told = {BundleState.MODIFIED if each.state is BundleState.MISSING else each.state for each in found}
    for state in BundleState:
        key = state[0].lower() + state[1:]
        count = int(summary.get(key) or 0)
        if count and state not in (BundleState.READY, *told):
            found.append(_explained(state, f"{count} {what}s", {}, held))
    return sorted(found, key=lambda each: each.severity)


def _state(text: str) -> BundleState | None:
    try:
        return BundleState(text)
    except ValueError:
        return None


def _explained(
    state: BundleState, where: str, entry: Mapping[str, Any], held: str, *, nothing_applied: bool = False
) -> Trouble:
    message = str(entry.get("message") or "")
    match state:
        case BundleState.ERR_APPLIED:
            error = fleet_reasons.of(message)
            cause = error.cause or "the agent can not apply the bundle; it tries again by itself"
            fix = error.fix or "see the message; capi-llm kubeconfig CLUSTER -- kubectl get events -A"
            return Trouble(where, state, "", error.reason, cause, fix, error.final)
        case BundleState.WAIT_APPLIED:
            cause = (
                "the cluster's Fleet agent has not taken it up: it does not run, or does not reach this plane"
            )
            return Trouble(where, state, "", message, cause, _AGENT_FIX)
        case BundleState.MODIFIED | BundleState.MISSING:
            return _modified(where, entry.get("modifiedStatus") or [])
        case BundleState.OUT_OF_SYNC:
            cause = (
                held or "the change is held back: paused, or as many clusters as maxUnavailable are not ready"
            )
            fix = "end the pause, make the other clusters ready, or raise rolloutStrategy.maxUnavailable"
            return Trouble(where, state, "", "the newest change is not rolled out to it yet", cause, fix)
        case BundleState.PENDING:
            cause = held or (
                "the rollout has not come to it: an earlier partition is not ready, or 50 are under way"
            )
            fix = "make the clusters of the earlier partition ready, or change rolloutStrategy"
            return Trouble(where, state, "", "no BundleDeployment is made for it yet", cause, fix)
    if message:  # an error that Fleet has given up: applied, as it says, and never ready
        error = fleet_reasons.of(message)
        return Trouble(where, state, "", error.reason, error.cause, error.fix, error.final)
    if held and (nothing_applied or not entry.get("nonReadyStatus")):
        return Trouble(where, state, "", "nothing is applied", held, "end the pause")
    return _not_ready(where, entry.get("nonReadyStatus") or [])


def _not_ready(where: str, objects: Sequence[Mapping[str, Any]]) -> Trouble:
    state = BundleState.NOT_READY
    if not objects:
        return Trouble(where, state, "", "the agent has not looked at its objects yet", "", "")
    # A volume that is not bound is why pods wait; Fleet's order is by UID.
    first = min(objects, key=lambda each: each.get("kind") != "PersistentVolumeClaim")
    summary = first.get("summary") or {}
    messages = [str(text) for text in summary.get("message") or []] or [str(summary.get("state") or "")]
    reason = fleet_reasons.of(", ".join(text.rstrip(".") for text in messages if text)).reason
    kind = str(first.get("kind") or "")
    cause = _BY_KIND.get(kind, f"the controller of {kind} objects does not call it ready")
    namespace = str(first.get("namespace") or "")
    scope = f"-n {namespace} " if namespace else ""
    cluster = where.rpartition("/")[2] if where.startswith("cluster ") else "CLUSTER"
    fix = f"capi-llm kubeconfig {cluster} -- kubectl {scope}get pods,events"
    return Trouble(where, state, _name(first), f"{reason}{_more(objects)}", cause, fix)


def _modified(where: str, objects: Sequence[Mapping[str, Any]]) -> Trouble:
    if not objects:
        return Trouble(where, BundleState.MODIFIED, "", "an object is not as delivered", "", "")
    # What is gone is worse than what was changed.
    first = min(objects, key=lambda each: not each.get("missing"))
    obj, more = _name(first), _more(objects)
    if first.get("missing") and first.get("exist"):
        cause = "another bundle or release has taken the object over"
        fix = "deliver the object with one bundle only, or set helm.takeOwnership: true"
        return Trouble(where, BundleState.MODIFIED, obj, f"is not owned by this bundle{more}", cause, fix)
    if first.get("missing"):
        cause = "somebody has deleted it on the workload cluster; Fleet does not make it again by itself"
        fix = "raise the bundle's spec.forceSyncGeneration by one, or set correctDrift: {enabled: true}"
        return Trouble(where, BundleState.MISSING, obj, f"is gone{more}", cause, fix)
    if first.get("delete"):
        cause = "the bundle does not have it any more and it was not removed"
        fix = "delete it on the workload cluster"
        return Trouble(where, BundleState.MODIFIED, obj, f"is left over{more}", cause, fix)
    patch = str(first.get("patch") or "")
    cause = "somebody, or a controller of the workload cluster, has changed it after it was applied"
    if '"replicas"' in patch:
        cause += "; replicas: an autoscaler does that"
    fix = (
        "set it back, or raise spec.forceSyncGeneration; where a controller owns the field, name it in "
        "diff.comparePatches of fleet.yaml"
    )
    return Trouble(
        where, BundleState.MODIFIED, obj, f"was changed, delivered was {_short(patch)}{more}", cause, fix
    )


def _name(entry: Mapping[str, Any]) -> str:
    namespace = f"{entry['namespace']}/" if entry.get("namespace") else ""
    return f"{entry.get('kind', '')} {namespace}{entry.get('name', '')}"


def _more(objects: Sequence[object]) -> str:
    return f" (and {len(objects) - 1} more)" if len(objects) > 1 else ""


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
