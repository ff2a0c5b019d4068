"""Create a cluster, or compare with the one that is there; then wait until it is ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from capi_llm.clusters import classes, tree
from capi_llm.clusters.classes import ClassFolder, ClassInfo
from capi_llm.clusters.difference import differences
from capi_llm.clusters.kubeconfig import unknown_cluster
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.clusters.topology import manifest, spec_of
from capi_llm.contract.conditions import deleting
from capi_llm.errors import CapiLlmError, Conflict, NotFound, Refused
from capi_llm.kube.apply import MANAGER
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, MACHINE_DEPLOYMENTS, NAMESPACES, Object, Ref, Resource
from capi_llm.waiting import Status, Waiter, failed, pending, until

Verdict = Callable[[tree.ClusterView, tree.Objects], Status]
"""Whether a cluster is as it was asked for, from its tree and what the tree was built from."""

_SEEN = 10.0


@dataclass(frozen=True)
class Outcome:
    """What :func:`create` did; ``spec`` is what the cluster is by now, ``obj`` as the server has it."""

    action: Literal["created", "unchanged"]
    ref: Ref
    spec: ClusterSpec
    obj: Object


def create(
    api: Api,
    spec: ClusterSpec,
    *,
    folder: ClassFolder | None = None,
    offered: Mapping[str, Any] | None = None,
    waiter: Waiter | None = None,
) -> Outcome:
    """Create the cluster of ``spec``; where it exists, compare and write nothing.

    Raises what :func:`prepare` and :func:`ensure` raise.
    """
    spec = prepare(api, spec, folder=folder, offered=offered, waiter=waiter)
    return ensure(api, spec, api.find(Ref(CLUSTERS, spec.name, spec.namespace)))


def prepare(
    api: Api,
    spec: ClusterSpec,
    *,
    folder: ClassFolder | None = None,
    offered: Mapping[str, Any] | None = None,
    waiter: Waiter | None = None,
) -> ClusterSpec:
    """``spec`` in the types of its class, which is there afterwards: what is the same for any name.

    ``folder`` is a class to apply first (``--class-dir``). ``offered`` are variables that are taken where the
    class has them and nobody said another value: of new clusters alone. Raises BadInput for a variable or
    worker class that the ClusterClass lacks, NotFound for a missing class or namespace.
    """
    if api.find(Ref(NAMESPACES, spec.namespace)) is None:
        raise NotFound(
            f"namespace {spec.namespace!r} does not exist",
            fix=f"capi-llm kubeconfig --management -- kubectl create namespace {spec.namespace}",
        )
    if folder is not None:
        spec = classes.check(spec, classes.describe_folder(folder))
        where = spec.cluster_class.rpartition("/")[0] or spec.namespace
        classes.apply_folder(api, folder, where, waiter=waiter)
    info = classes.find(api, spec.cluster_class, spec.namespace)
    return classes.check(_with(spec, info, offered or {}), info)


def _with(spec: ClusterSpec, info: ClassInfo, offered: Mapping[str, Any]) -> ClusterSpec:
    taken = {
        name: value
        for name, value in offered.items()
        if name not in spec.variables and info.variable(name) is not None
    }
    return replace(
        spec,
        variables={**spec.variables, **taken},
        defaulted=spec.defaulted | {f"variables.{name}" for name in taken},
    )


def ensure(api: Api, spec: ClusterSpec, existing: Object | None) -> Outcome:
    """Create the cluster of a prepared ``spec``, or compare with the ``existing`` one and write nothing.

    Raises Refused where it exists with other values (naming each and the command that changes
    it) or is being deleted, Invalid where a webhook refuses it.
    """
    ref = Ref(CLUSTERS, spec.name, spec.namespace)
    if existing is None:
        try:
            made = _create(api, ref, manifest(spec))
        except Conflict:
            # Someone else made it between the two requests, or our first try did and its answer was lost.
            existing = api.get(ref)
        else:
            return Outcome("created", ref, spec, made)
    return Outcome("unchanged", ref, compare(existing, spec), existing)


def compare(existing: Object, want: ClusterSpec) -> ClusterSpec:
    """The spec of ``existing``, if it has what the user said in ``want``. Raises Refused."""
    ref = CLUSTERS.ref(existing)
    if deleting(existing):
        raise Refused(
            f"cluster {want.name!r} is being deleted",
            on=str(ref),
            fix=f"capi-llm delete-cluster {want.name} --yes waits for its end; then run this command again",
        )
    if not (existing.get("spec") or {}).get("topology"):
        raise Refused(
            f"cluster {want.name!r} exists and was not made from a ClusterClass",
            on=str(ref),
            fix="choose another name",
        )
    have = spec_of(existing)
    found = differences(have, want)
    if found:
        raise Refused(
            f"cluster {want.name!r} exists with other values; nothing was changed",
            on=str(ref),
            why="; ".join(str(difference) for difference in found),
            fix=("\n" + " " * 12).join(difference.command for difference in found),
        )
    return have


def _create(api: Api, ref: Ref, obj: Object) -> Object:
    made: Object = api.request(
        "POST",
        ref.resource.path(ref.namespace),
        body=obj,
        query={"fieldManager": MANAGER, "fieldValidation": "Strict"},
        what="can not create",
        on=str(ref),
        idempotent=True,  # where the answer of a first try was lost, the second is a Conflict
    )
    return made


def wait_ready(
    informers: Informers,
    name: str,
    namespace: str = "default",
    *,
    timeout: float,
    waiter: Waiter | None = None,
    on_tree: Callable[[tree.ClusterView], None] = lambda view: None,
    extra: Sequence[Resource] = (),
    verdict: Verdict | None = None,
) -> tree.ClusterView:
    """Wait until the control plane and all workers are ready; ``on_tree`` hears every change.

    ``timeout`` is in seconds; ``extra`` are kinds of control planes besides kubeadm's;
    ``verdict`` may ask for more than that. Raises NotFound where there is no such Cluster,
    TimedOut with the root cause, CapiLlmError where it failed for good or was deleted meanwhile.
    """
    ref = Ref(CLUSTERS, name, namespace)
    caught_up = False
    latest: tree.ClusterView | None = None

    def probe() -> Status:
        nonlocal caught_up, latest
        if not caught_up:
            _catch_up(informers, ref)
            caught_up = True
        objects = tree.collect(informers, namespace, extra)
        view = tree.find(objects, name, namespace)
        if view is None:
            return failed("it does not exist any more")
        if view != latest:
            latest = view
            on_tree(view)
        if view.phase == "Deleting":
            return failed("it is being deleted", cause=view.status.cause)
        status = verdict(view, objects) if verdict else view.status
        if status.ready and (newer := _newer(informers.api, ref, objects, extra)):
            return pending(f"a change of {newer} is not seen yet")
        return status

    bell = replace(waiter or Waiter(), wakeup=informers.wakeup)
    until(probe, what=f"cluster {namespace}/{name}", timeout=timeout, waiter=bell)
    if latest is None:
        raise CapiLlmError("the cluster was never seen", on=str(ref))
    return latest


def _newer(api: Api, cluster: Ref, objects: tree.Objects, extra: Sequence[Resource]) -> Ref | None:
    """A control plane or pool of ``cluster`` whose newest change is not in ``objects``, if there is one.

    Informers of several kinds are not of one moment: the Cluster may say already that its topology is
    brought about, while what that has changed is not seen yet. Each is asked for by its name: lists of
    their kinds took half a second with 200 clusters.
    """
    kinds = {kind.kind: kind for kind in (MACHINE_DEPLOYMENTS, *tree.CONTROL_PLANES, *extra)}
    for obj in (*objects.control_planes, *objects.machine_deployments):
        metadata = obj["metadata"]
        own = (metadata.get("labels") or {}).get(tree.CLUSTER_NAME) == cluster.name
        kind = kinds.get(obj["kind"])
        if kind is None or not own or metadata["namespace"] != cluster.namespace:
            continue
        ref = kind.ref(obj)
        live = api.find(ref)
        if live is None or live["metadata"].get("generation") != metadata.get("generation"):
            return ref
    return None


def _catch_up(informers: Informers, ref: Ref) -> None:
    """Have what was written a moment ago be seen, or the state before it could pass for ready."""
    api = informers.api
    known = api.find(ref)
    if known is None:
        others = [CLUSTERS.ref(obj) for obj in api.list(CLUSTERS)]
        raise unknown_cluster(ref.name, ref.namespace or "default", others)
    informers.of(CLUSTERS, ref.namespace).wait_seen(known, _SEEN)
    for deployment in api.list(MACHINE_DEPLOYMENTS, ref.namespace, f"{tree.CLUSTER_NAME}={ref.name}"):
        informers.of(MACHINE_DEPLOYMENTS, ref.namespace).wait_seen(deployment, _SEEN)
