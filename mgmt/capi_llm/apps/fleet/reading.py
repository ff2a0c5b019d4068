"""How an app is, from its Bundle or HelmOp and its BundleDeployments together. Pure.

Where all BundleDeployments are of the newest spec, they have the word. The summary in the Bundle is
made of them, and a real Fleet 0.14 was seen to leave it at an older state: at the content before right
after a change, and once at ``WaitApplied`` for minutes after all agents were done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from capi_llm.apps.engine import AppStatus, Difference, Part
from capi_llm.apps.fleet import objects
from capi_llm.apps.fleet.kinds import (
    BUNDLE_DEPLOYMENTS,
    BUNDLE_NAME,
    BUNDLE_NAMESPACE,
    CLUSTER_NAME,
    HELM_OPS,
)
from capi_llm.contract import fleet
from capi_llm.contract.conditions import deleting
from capi_llm.contract.fleet_troubles import BundleState, of_deployment
from capi_llm.kube.difference import changes
from capi_llm.kube.resources import Object, Ref
from capi_llm.waiting import Status, pending, ready


def app(
    name: str,
    obj: Object,
    made: Object | None,
    deployments: Sequence[Object],
    agents: Mapping[str, Status],
    clusters: int,
) -> AppStatus:
    """The app ``name``, of which ``obj`` is our object and ``deployments`` its BundleDeployments.

    ``made`` is the Bundle that Fleet makes of a HelmOp, ``agents`` are those of the clusters by name,
    ``clusters`` on how many it has to be.
    """
    bundle = made or obj
    held = fleet.held(bundle)
    parts = tuple(Part(BUNDLE_DEPLOYMENTS.ref(bd), _status(bd, agents, held)) for bd in deployments)
    version = str((obj["metadata"].get("annotations") or {}).get(objects.VERSION, ""))
    newest = sum(_revision(bd) == _revision(obj) for bd in deployments)
    late = max(clusters, fleet.matched(bundle)) - newest
    if late <= 0 and not deleting(obj) and fleet.unsettled(bundle) is None:
        status = _by_deployments(deployments, parts)
    else:
        status = _by_summary(obj, made, clusters)
        if status.ready:
            status = pending(f"the newest change is on its way to {late} clusters")
    return AppStatus(name, status, version=version, parts=parts)


def _by_summary(obj: Object, made: Object | None, clusters: int) -> Status:
    if obj["kind"] == HELM_OPS.kind:
        return fleet.helm_op(obj, made, clusters=clusters)
    return fleet.bundle(obj, clusters=clusters)


def _by_deployments(deployments: Sequence[Object], parts: Sequence[Part]) -> Status:
    """All are of the newest spec, so what they say holds; a summary of them may be older for minutes."""
    found = [
        (trouble.severity, part.status)
        for bd, part in zip(deployments, parts, strict=True)
        if (trouble := of_deployment(bd)) is not None
    ]
    if found:
        return min(found, key=lambda each: each[0])[1]
    return ready(f"ready on {len(parts)} of {len(parts)} clusters")


def _revision(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get(objects.REVISION, ""))


def is_of(bd: Object, bundle: str, namespace: str) -> bool:
    """Whether a BundleDeployment is of that Bundle."""
    labels = bd["metadata"].get("labels") or {}
    return bool((labels.get(BUNDLE_NAME), labels.get(BUNDLE_NAMESPACE)) == (bundle, namespace))


def _status(bd: Object, agents: Mapping[str, Status], held: str) -> Status:
    """The status of ``bd``, with what other objects know of its cause.

    ``agents`` are those of the clusters, ``held`` is why the Bundle holds changes back.
    """
    trouble, status = of_deployment(bd), fleet.bundle_deployment(bd)
    if trouble is None:
        return status
    agent = agents.get((bd["metadata"].get("labels") or {}).get(CLUSTER_NAME, ""))
    if trouble.state is BundleState.WAIT_APPLIED and agent is not None and not agent.ready:
        return replace(status, cause=agent.message, fix=agent.fix)
    if trouble.state is BundleState.OUT_OF_SYNC and held:
        return replace(status, cause=held)
    return status


def kept(found: Iterable[Object], names: Collection[str], namespace: str) -> Status:
    """Whether the BundleDeployments of the Bundles ``names`` keep their objects when they go."""
    for bd in found:
        if not any(is_of(bd, name, namespace) for name in names):
            continue
        spec, status = bd.get("spec") or {}, bd.get("status") or {}
        known = (spec.get("options") or {}).get("keepResources") is True
        if not known or status.get("appliedDeploymentID") != spec.get("deploymentID"):
            why = fleet.bundle_deployment(bd).message
            return pending(f"{BUNDLE_DEPLOYMENTS.ref(bd)} does not keep its objects yet: {why}")
    return ready()


def difference(app: str, ref: Ref, live: Object | None, trial: Object) -> Difference:
    """What makes ``live`` into ``trial``, the server's answer to a dry run."""
    if live is None:
        return Difference(app, ref, "create")
    # The revision only says that something else is different.
    found = tuple(change for change in changes(live, trial) if objects.REVISION not in change.path)
    return Difference(app, ref, "change" if found else "none", found)
