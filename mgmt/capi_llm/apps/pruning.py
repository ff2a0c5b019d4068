"""What of an ApplySet is in the cluster, and what of that is to go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

from capi_llm.apps import applyset
from capi_llm.apps.applyset import Parent
from capi_llm.contract import capi
from capi_llm.contract.conditions import deleting
from capi_llm.errors import Conflict, NotFound
from capi_llm.kube.apply import MANAGER
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.owned import applied_fields
from capi_llm.kube.resources import CRDS, Object, Ref, Resource
from capi_llm.waiting import Cancel, Status, Waiter, pending, ready, until

POLICY = "helm.sh/resource-policy"
"""Annotation by which a chart says ``keep`` (https://helm.sh/docs/howto/charts_tips_and_tricks)."""

_THREADS = 12


def members(api: Api, discovery: Discovery, parent: Parent) -> list[tuple[Ref, Object]]:
    """The objects in the cluster that are part of ``parent`` and that we have applied.

    Only of the kinds and in the namespaces that the parent says. The label alone is not enough:
    controllers copy labels, as that of EndpointSlices does from Services.
    """

    def of(kind: tuple[str, str]) -> list[tuple[Ref, Object]]:
        resource = discovery.resource_of(*kind)
        return [] if resource is None else _of_kind(api, resource, parent)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="members") as pool:
        return [item for found in pool.map(of, sorted(parent.kinds)) for item in found]


def leavers(
    found: Iterable[tuple[Ref, Object]], wanted: Collection[tuple[str, str, str, str]], *, definitions: bool
) -> tuple[list[tuple[Ref, Object]], list[Ref]]:
    """Those of ``found`` to delete, and those to keep, that are not ``wanted`` (see :func:`identity`).

    Kept are objects whose chart says so, and without ``definitions`` CustomResourceDefinitions:
    everybody's objects of the kind would go with them.
    """
    gone, kept = [], []
    for ref, obj in found:
        if identity(obj) in wanted or deleting(obj):
            continue
        said = (obj["metadata"].get("annotations") or {}).get(POLICY) == "keep"
        if said or (ref.resource.kind == CRDS.kind and ref.resource.group == CRDS.group and not definitions):
            kept.append(ref)
        else:
            gone.append((ref, obj))
    return gone, kept


def delete(api: Api, gone: Sequence[tuple[Ref, Object]]) -> tuple[Ref, ...]:
    """Delete exactly these objects: not what may have got the name of one meanwhile."""

    def one(item: tuple[Ref, Object]) -> bool:
        ref, obj = item
        try:
            return api.delete(ref, uid=obj["metadata"]["uid"])
        except Conflict:
            return False  # it is another one by now

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="delete") as pool:
        return tuple(ref for (ref, _), done in zip(gone, pool.map(one, gone), strict=True) if done)


def wait_gone(api: Api, gone: Sequence[tuple[Ref, Object]], timeout: float, cancel: Cancel) -> None:
    """Wait until none of ``gone`` is left. Raises TimedOut that names what holds the first of them."""
    left = list(gone)
    with closing(Informers(api, cancel=cancel)) as informers:

        def probe() -> Status:
            while left:
                ref, obj = left[-1]
                with suppress(NotFound):
                    now = informers.of(ref.resource, ref.namespace).find(ref.name)
                    if now is not None and now["metadata"]["uid"] == obj["metadata"]["uid"]:
                        holders = capi.held_by(now)
                        return pending(f"{ref} is still there{f', held by {holders}' if holders else ''}")
                left.pop()
            return ready()

        until(probe, what="the removal", timeout=timeout, waiter=Waiter(informers.wakeup, cancel))


def identity(obj: Object) -> tuple[str, str, str, str]:
    """What makes two manifests the same object, whatever version of the API they are written in."""
    metadata = obj["metadata"]
    return (*applyset.group_kind(obj), metadata.get("namespace") or "", metadata["name"])


def _of_kind(api: Api, resource: Resource, parent: Parent) -> list[tuple[Ref, Object]]:
    found = api.list(resource, label_selector=f"{applyset.PART_OF}={parent.id}")
    return [
        (resource.ref(obj), obj)
        for obj in found
        if applied_fields(obj, MANAGER) is not None
        and (not resource.namespaced or obj["metadata"]["namespace"] in parent.namespaces)
    ]
