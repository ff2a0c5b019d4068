"""Delete a cluster in order: its Cluster object only, then wait, and say who holds what.

Cluster API itself takes workers, control plane and infrastructure down in the right order.
Deleting a namespace, a class or templates first is what makes deletions hang, so nothing
of that is done here. LoadBalancers and volumes that the cluster made outside of itself
have to be deleted in it beforehand.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from capi_llm.clusters import abandoned, kubeconfig
from capi_llm.clusters.tree import CLUSTER_NAME, CONTROL_PLANES, listed
from capi_llm.contract import capi
from capi_llm.contract.conditions import deleting
from capi_llm.errors import CapiLlmError, Refused, TimedOut
from capi_llm.files import sweep
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import (
    CLUSTERS,
    MACHINE_DEPLOYMENTS,
    MACHINE_SETS,
    MACHINES,
    Object,
    Ref,
    Resource,
)
from capi_llm.waiting import Status, Waiter, pending, ready, until

_FIX = (
    "see that the controllers named there run; run the same command again to go on waiting. "
    "Take a finalizer away by hand only where its machine is gone for certain"
)


_ORPHANED = "the Cluster object went before them, so that Cluster API does not look after them any more"

_SETTLE = 30.0
"""Seconds that a cluster which is just being made is given before it is deleted."""


@dataclass(frozen=True)
class Leftover:
    """An object of the cluster that still exists.

    ``holders`` names its finalizers with their controllers, ``waits_for`` is what its
    controller says about the deletion.
    """

    ref: Ref
    deleting: bool
    holders: str
    waits_for: str = ""


def delete(
    informers: Informers,
    name: str,
    namespace: str = "default",
    *,
    timeout: float,
    waiter: Waiter | None = None,
    kubeconfigs: Path | None = None,
    on_leftovers: Callable[[Sequence[Leftover]], None] = lambda leftovers: None,
    extra: Sequence[Resource] = (),
) -> None:
    """Delete the cluster and wait until nothing of it is left; then remove its saved kubeconfig.

    ``timeout`` is in seconds, ``kubeconfigs`` the folder of saved kubeconfigs, ``extra`` more
    kinds of control planes. Run again, it goes on waiting. Raises NotFound where there is no
    such cluster, Refused where it is paused, TimedOut with what still exists and who holds it.
    """
    api = informers.api
    ref = Ref(CLUSTERS, name, namespace)
    cluster = api.find(ref)
    if cluster is None:
        released = abandoned.release(api, name, namespace, (*CONTROL_PLANES, *extra))
        if not _forget(name, namespace, kubeconfigs) and not released:
            known = [CLUSTERS.ref(obj) for obj in api.list(CLUSTERS)]
            raise kubeconfig.unknown_cluster(name, namespace, known)
        return
    if capi.paused(cluster):
        raise Refused(
            f"cluster {name!r} is paused, so that nothing would delete its machines",
            on=str(ref),
            fix=f"capi-llm kubeconfig --management -- kubectl -n {namespace} patch {CLUSTERS} {name} "
            '--type merge -p \'{"spec":{"paused":false}}\'',
        )
    uid = cluster["metadata"]["uid"]
    may_be_abandoned = (*CONTROL_PLANES, *extra, *_infrastructure_kind(api, cluster))
    if not deleting(cluster):
        _settle(api, ref, min(timeout, _SETTLE), waiter)
        api.delete(ref, uid=uid)
    seen: Sequence[Leftover] | None = None

    def probe() -> Status:
        nonlocal seen
        found = leftovers(informers, name, namespace, extra)
        if found != seen:
            seen = found
            on_leftovers(found)
        orphaned = all(item.ref.resource != CLUSTERS for item in found)
        if orphaned and api.find(ref) is None:
            abandoned.release(api, name, namespace, may_be_abandoned)
        if found:
            return pending(_still_there(found), cause=_ORPHANED if orphaned else "")
        # The informer may be behind; the server has the last word.
        now = api.find(ref)
        gone = now is None or now["metadata"]["uid"] != uid
        return (
            ready() if gone else pending("the Cluster object is still there", cause=capi.held_by(now or {}))
        )

    bell = replace(waiter or Waiter(), wakeup=informers.wakeup)
    try:
        until(probe, what=f"the deletion of cluster {namespace}/{name}", timeout=timeout, waiter=bell)
    except TimedOut as error:
        held = [*_infrastructure(informers, name, namespace), *(seen or ())]
        what = f"cluster {namespace}/{name} is not gone after {timeout:.0f} s"
        orphaned = held and all(item.ref.resource != CLUSTERS for item in held)
        why = "; ".join([*([_ORPHANED] if orphaned else []), *map(_held, held)])
        raise TimedOut(what, why=why or error.why, fix=_FIX) from None
    _forget(name, namespace, kubeconfigs)


def _settle(api: Api, ref: Ref, timeout: float, waiter: Waiter | None) -> None:
    def probe() -> Status:
        cluster = api.find(ref)
        return ready() if cluster is None else capi.deletable(cluster)

    quick = replace(waiter or Waiter(), interval=0.2)
    with contextlib.suppress(TimedOut):
        until(probe, what=str(ref), timeout=timeout, waiter=quick)


def leftovers(
    source: Api | Informers, name: str, namespace: str, extra: Sequence[Resource] = ()
) -> list[Leftover]:
    """What still exists of a cluster, from the machines up to the Cluster itself."""
    kinds = (MACHINES, MACHINE_SETS, MACHINE_DEPLOYMENTS, *CONTROL_PLANES, *extra, CLUSTERS)
    found = []
    for kind in kinds:
        for obj in listed(source, kind, namespace):
            if _belongs(obj, kind, name):
                found.append(Leftover(kind.ref(obj), deleting(obj), capi.held_by(obj), capi.waits_for(obj)))
    return found


def _belongs(obj: Object, kind: Resource, name: str) -> bool:
    metadata = obj["metadata"]
    if kind == CLUSTERS:
        return bool(metadata["name"] == name)
    return bool((metadata.get("labels") or {}).get(CLUSTER_NAME) == name)


def _infrastructure(informers: Informers, name: str, namespace: str) -> Iterator[Leftover]:
    """Infrastructure and bootstrap objects that the remaining objects refer to."""
    api = informers.api
    discovery = Discovery(api)
    owners = [*api.list(MACHINES, namespace, f"{CLUSTER_NAME}={name}")]
    owners += [obj for obj in [api.find(Ref(CLUSTERS, name, namespace))] if obj is not None]
    for owner in owners:
        reference = (owner.get("spec") or {}).get("infrastructureRef")
        if not reference:
            continue
        named = {**reference, "metadata": {"name": reference["name"], "namespace": namespace}}
        try:
            ref = discovery.resource_for(named).ref(named)
        except CapiLlmError:
            continue
        obj = api.find(ref)
        if obj is not None and deleting(obj):
            yield Leftover(ref, True, capi.held_by(obj), capi.waits_for(obj))


def _infrastructure_kind(api: Api, cluster: Object) -> tuple[Resource, ...]:
    reference = (cluster.get("spec") or {}).get("infrastructureRef")
    try:
        return (Discovery(api).resource_for(reference),) if reference else ()
    except CapiLlmError:
        return ()


def _still_there(found: Sequence[Leftover]) -> str:
    """One line: what is left, and what the first that is on its way out waits for."""
    counts = Counter(item.ref.resource.kind for item in found)
    still = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    first = next((item for item in found if item.deleting and (item.waits_for or item.holders)), None)
    return f"still there: {still}" + (f"; {_held(first)}" if first else "")


def _held(item: Leftover) -> str:
    if not item.deleting:
        return f"{item.ref} is not being deleted yet"
    detail = f", which waits: {item.waits_for}" if item.waits_for else ""
    return f"{item.ref} is held by {item.holders}{detail}" if item.holders else f"{item.ref} is going"


def _forget(name: str, namespace: str, kubeconfigs: Path | None) -> bool:
    if kubeconfigs is None:
        return False
    target = kubeconfig.path(name, namespace, kubeconfigs)
    existed = target.exists()
    target.unlink(missing_ok=True)
    sweep(kubeconfigs, target.name)
    return existed
