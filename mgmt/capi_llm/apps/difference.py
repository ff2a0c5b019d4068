"""What an apply would change, told by the server's dry run."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from capi_llm.apps.engine import Difference
from capi_llm.errors import Conflict, NotFound
from capi_llm.kube.apply import MANAGER
from capi_llm.kube.client import Api
from capi_llm.kube.difference import Change, changed_paths, changes
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.owned import in_place
from capi_llm.kube.resources import SECRETS, Object, Resource
from capi_llm.secret_names import GONE

_THREADS = 12


def of_objects(
    api: Api,
    discovery: Discovery,
    app: str,
    objects: Sequence[Object],
    *,
    force: bool = True,
    only_missing: bool = False,
) -> list[Difference]:
    """One Difference per object, unchanged ones included; with ``only_missing`` those that are not there.

    Raises what the server refuses, but for fields that others own: a Difference tells of these.
    """

    def one(obj: Object) -> Difference | None:
        try:
            resource = discovery.resource_for(obj)
        except NotFound:  # its definition comes with this apply, or with an app before it
            group, _, version = str(obj["apiVersion"]).rpartition("/")
            resource = Resource(group, version, "", str(obj["kind"]), "namespace" in obj["metadata"])
            return Difference(app, resource.ref(obj), "create")
        ref = resource.ref(obj)
        live = api.find(ref)
        if live is None:
            with suppress(NotFound):  # its namespace comes with this apply
                api.server_side_apply(ref, obj, manager=MANAGER, dry_run=True)
            return Difference(app, ref, "create")
        if only_missing:
            return None
        if in_place(live, obj, manager=MANAGER):
            return Difference(app, ref, "none")
        conflict = ""
        try:
            trial = api.server_side_apply(ref, obj, manager=MANAGER, force=force, dry_run=True)
        except Conflict as error:
            conflict = error.why
            trial = api.server_side_apply(ref, obj, manager=MANAGER, dry_run=True)
        if not changed_paths(live, trial, manager=MANAGER, status="status" in obj):
            return Difference(app, ref, "none")
        found = changes(live, trial)
        return Difference(app, ref, "change", _masked(found) if resource == SECRETS else found, conflict)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="diff") as pool:
        return [item for item in pool.map(one, objects) if item is not None]


def _masked(found: Sequence[Change]) -> tuple[Change, ...]:
    return tuple(
        Change(item.path, item.old and GONE, item.new and GONE)
        if item.path.startswith(("data", "stringData"))
        else item
        for item in found
    )
