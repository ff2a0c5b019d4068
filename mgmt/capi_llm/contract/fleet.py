"""Fleet's objects, one at a time: Bundle, BundleDeployment, HelmOp, Cluster, ClusterGroup.

Of ``fleet.cattle.io/v1alpha1``, as Fleet 0.14 to 0.16 write them. What their states mean is in
:mod:`capi_llm.contract.fleet_troubles`, what an error means in
:mod:`capi_llm.contract.fleet_reasons`.

Fleet's own ``Ready`` says less than it seems: a Bundle that matches no cluster is Ready with
``0/0``, and right after a change the summary is that of the content before, while
``observedGeneration`` is already the new one
(``resetStatus`` runs before ``UpdatePartitions``,
https://github.com/rancher/fleet/blob/v0.14.0/internal/cmd/controller/reconciler/bundle_controller.go).
Only ``unavailable`` is counted afterwards, and without clusters that are held back. Who needs to be
sure looks at the BundleDeployments, as the engine does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from capi_llm.contract import fleet_reasons
from capi_llm.contract.conditions import Object, conditions, deleting, finalizers, generation, status_of
from capi_llm.contract.fleet_troubles import Trouble, of_deployment, of_summary
from capi_llm.waiting import Status, failed, pending, ready

CHECK_IN = timedelta(minutes=15)
"""How often an agent says that it is there, unless ``agentCheckinInterval`` says otherwise
(https://github.com/rancher/fleet/blob/v0.14.0/charts/fleet/values.yaml)."""

_MISSED = 2
_LATE = timedelta(minutes=1)
"""An agent is away when it has missed two check-ins and a minute."""

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")

_CONTROLLER = "Fleet's controller does not run, or is busy"
_CONTROLLER_FIX = "see that Deployment fleet-controller in cattle-fleet-system runs"


def bundle(obj: Object, *, clusters: int = 1) -> Status:
    """A Bundle. ``clusters``: on how many it has to be, at least."""
    if (early := unsettled(obj)) is not None:
        return early
    return _delivered(obj, clusters, "cluster", held=held(obj)) or _rolled_out(obj) or _done(obj)


def helm_op(obj: Object, made: Object | None, *, clusters: int = 1) -> Status:
    """A HelmOp, and ``made``: the Bundle of its name that Fleet makes of it, None where there is none."""
    if deleting(obj):
        return _leaving(obj)
    accepted = conditions(obj).get("Accepted")
    if accepted is not None and accepted.false:
        error = fleet_reasons.of(accepted.message)
        if accepted.message.startswith("helm options"):
            return failed(
                error.reason, cause="the HelmOp says not which chart", fix="correct helm.chart and repo"
            )
        return pending(f"the chart is not accepted: {error.reason}", cause=error.cause, fix=error.fix)
    if accepted is None or made is None:
        return pending("Fleet has not made a Bundle of it yet", cause=_CONTROLLER, fix=_CONTROLLER_FIX)
    if not _carried_over(obj, made):
        return pending("the newest change is not in its Bundle yet", cause=_CONTROLLER, fix=_CONTROLLER_FIX)
    return bundle(made, clusters=clusters)


def bundle_deployment(obj: Object) -> Status:
    """A Bundle on one cluster."""
    if deleting(obj):
        return _leaving(obj)
    trouble = of_deployment(obj)
    return trouble.status() if trouble is not None else ready()


def check_in(config: Object | None) -> timedelta:
    """How often agents check in, by the ConfigMap ``fleet-controller``; the default without one."""
    try:
        text = str(json.loads((config or {})["data"]["config"])["agentCheckinInterval"])
    except (KeyError, TypeError, ValueError):
        return CHECK_IN
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    return timedelta(hours=hours, minutes=minutes, seconds=seconds) or CHECK_IN


def agent(obj: Object, *, now: datetime | None = None, every: timedelta = CHECK_IN) -> Status:
    """Whether a Cluster of Fleet is registered and its agent there, whatever its bundles do.

    ``now`` is the API server's time, the machine's without it; ``every`` how often agents check in.
    """
    if deleting(obj):
        return _leaving(obj)
    status = status_of(obj)
    if not status.get("namespace"):
        return pending("Fleet has not registered it yet", cause=_CONTROLLER, fix=_CONTROLLER_FIX)
    imported = conditions(obj).get("Imported")
    if imported is not None and imported.false and imported.message:
        return pending(
            f"the agent can not be installed: {imported.message}",
            cause="Fleet does not reach the cluster with the kubeconfig in its Secret, or that is missing",
            fix=f"see Secret {(obj.get('spec') or {}).get('kubeConfigSecret', '')}, key value",
        )
    if status.get("agentDeployedGeneration") is None and (obj.get("spec") or {}).get("kubeConfigSecret"):
        return pending(
            "its agent is not installed yet",
            cause="Fleet is about to do it; it does not without apiServerURL in its configuration",
            fix="see the ConfigMap fleet-controller in cattle-fleet-system",
        )
    seen = _time(str((status.get("agent") or {}).get("lastSeen") or ""))
    if seen is None:
        return pending(
            "WaitCheckIn: its agent was never seen",
            cause="the agent does not run yet, or does not reach this plane's API server "
            f"{status.get('apiServerURL') or ''}".rstrip(),
            fix="see Deployment fleet-agent in cattle-fleet-system on the workload cluster; "
            "spec.redeployAgentGeneration raised by one installs it anew",
        )
    age = (now or datetime.now(UTC)) - seen
    if age > _MISSED * every + _LATE:
        return pending(
            f"its agent was last seen {int(age.total_seconds() // 60)} min ago",
            cause="the agent or the whole cluster is down, or does not reach this plane",
            fix="see Deployment fleet-agent in cattle-fleet-system on the workload cluster",
        )
    return ready()


def cluster(obj: Object, *, now: datetime | None = None, every: timedelta = CHECK_IN) -> Status:
    """A Cluster of Fleet: its agent first, then what is delivered to it; one without bundles is ready."""
    here = agent(obj, now=now, every=every)
    if not here.ready:
        return here
    found = of_summary(obj, "bundle")
    return found[0].status() if found else ready()


def cluster_group(obj: Object) -> Status:
    """A ClusterGroup; one that selects no cluster is not ready."""
    if deleting(obj):
        return _leaving(obj)
    status = status_of(obj)
    if "clusterCount" not in status:
        return pending("Fleet has not looked at it yet", cause=_CONTROLLER, fix=_CONTROLLER_FIX)
    if not status["clusterCount"]:
        return pending(
            "selects no cluster",
            cause=f"no Fleet Cluster in {_namespace(obj)} has the labels of its selector",
            fix=f"kubectl get clusters.fleet.cattle.io -n {_namespace(obj)} --show-labels",
        )
    found = of_summary(obj, "cluster")
    if found:
        return found[0].status()
    names = status.get("nonReadyClusters") or []
    if names or status.get("nonReadyClusterCount"):
        which = ", ".join(names) or status["nonReadyClusterCount"]
        return pending(f"clusters that are not ready: {which}")
    return ready()


def troubles(obj: Object) -> list[Trouble]:
    """Everything that a Bundle's or HelmOp's summary tells, worst first."""
    return of_summary(obj, "cluster", held(obj))


def matched(obj: Object) -> int:
    """How many clusters a Bundle or HelmOp matches, as far as Fleet has looked."""
    return int((status_of(obj).get("summary") or {}).get("desiredReady") or 0)


def unsettled(obj: Object) -> Status | None:
    """A Bundle of which Fleet's newest word is still to come, or an error: deleted, refused, not seen yet."""
    if deleting(obj):
        return _leaving(obj)
    condition = conditions(obj).get("Ready")
    # Only an error of the controller itself has a reason. It is not tried again
    # (reconcile.TerminalError), and observedGeneration stays behind.
    if condition is not None and condition.false and condition.reason == "Error":
        error = fleet_reasons.of(condition.message)
        cause = error.cause or "Fleet's controller can not make BundleDeployments of it"
        return failed(error.reason, cause=cause, fix=error.fix or "correct the bundle")
    seen = status_of(obj).get("observedGeneration")
    if seen is None or int(seen) < generation(obj):
        return pending("the newest change is not seen by Fleet yet", cause=_CONTROLLER, fix=_CONTROLLER_FIX)
    return None


def _delivered(obj: Object, clusters: int, what: str, *, held: str) -> Status | None:
    count = matched(obj)
    if not count:
        return pending(
            "0 clusters match its targets",
            cause=f"no Fleet Cluster in {_namespace(obj)} matches {_targets(obj)}; Fleet looks only there",
            fix=f"kubectl get clusters.fleet.cattle.io -n {_namespace(obj)} --show-labels",
        )
    found = of_summary(obj, what, held)
    if found:
        return found[0].status()
    if count < clusters:
        return pending(
            f"is on {count} of {clusters} clusters",
            cause=f"its targets match no more Fleet Clusters of {_namespace(obj)}: {_targets(obj)}",
            fix=f"kubectl get clusters.fleet.cattle.io -n {_namespace(obj)} --show-labels",
        )
    return None


def _rolled_out(obj: Object) -> Status | None:
    waits = int(status_of(obj).get("unavailable") or 0)
    return pending(f"the newest change is on its way to {waits} clusters") if waits else None


def _done(obj: Object) -> Status:
    summary = status_of(obj)["summary"]
    count, wanted = int(summary.get("ready") or 0), int(summary["desiredReady"])
    if count < wanted:
        return pending(f"ready on {count} of {wanted} clusters")
    return ready(f"ready on {count} of {wanted} clusters")


def held(obj: Object) -> str:
    """Why changes of a Bundle are held back, as far as it says so itself; empty where it does not."""
    if (obj.get("spec") or {}).get("paused"):
        return "the bundle is paused (spec.paused)"
    status = status_of(obj)
    most, now = int(status.get("maxUnavailable") or 0), int(status.get("unavailable") or 0)
    if now and now >= most:
        return f"{now} clusters are not ready, and rolloutStrategy.maxUnavailable lets {most} be so at once"
    return ""


def _carried_over(obj: Object, made: Object) -> bool:
    """Whether Fleet's Bundle has what its HelmOp says; names of targets and versions are Fleet's to fill."""
    wanted, found = obj.get("spec") or {}, made.get("spec") or {}

    def helm(spec: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in (spec.get("helm") or {}).items() if key != "version"}

    def who(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
        keys = ("clusterName", "clusterSelector", "clusterGroup", "clusterGroupSelector")
        return [{key: each[key] for key in keys if key in each} for each in spec.get("targets") or []]

    version = str((wanted.get("helm") or {}).get("version") or "")
    same = helm(wanted) == helm(found) and who(wanted) == who(found)
    return same and version in ("", str((found.get("helm") or {}).get("version") or ""))


def _targets(obj: Object) -> str:
    """The targets of a Bundle in words: ``clusterName=demo or labels env=llm``."""
    words = []
    for target in (obj.get("spec") or {}).get("targets") or []:
        parts = [f"{key}={target[key]}" for key in ("clusterName", "clusterGroup") if target.get(key)]
        for key, name in (("clusterSelector", "labels"), ("clusterGroupSelector", "groups with labels")):
            if (labels := (target.get(key) or {}).get("matchLabels")) is not None:
                parts.append(f"{name} " + ",".join(f"{label}={value}" for label, value in labels.items()))
        words.append(" and ".join(parts) or "a selector")
    return " or ".join(words) or "its targets, as it has none"


def _leaving(obj: Object) -> Status:
    held = ", ".join(finalizers(obj))
    return pending(
        f"is being deleted, held by {held}" if held else "is being deleted",
        cause="Fleet's controller takes the finalizer away when its BundleDeployments are gone"
        if held
        else "",
    )


def _namespace(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "default")


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Go's zero time stands for never.
    return found if found.year > 1 else None
