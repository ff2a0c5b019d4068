"""What an apply has left, written down in the cluster, so that a look needs no dry run.

The API server notes for every object which fields a manager has applied, and when. Who
changes or removes one of them takes it off that note, whatever tool they use; who applies
as the same manager changes its time. So where our note is the one that was there right
after the apply, all that was applied is still there. Notes are metadata, and those of a
whole kind are one request without the objects themselves.

A record says only that; where it does not hold, nothing is known and the dry run of
:func:`capi_llm.kube.apply.apply` has to tell.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from capi_llm.errors import ApiError
from capi_llm.kube.apply import MANAGER, Applied, apply
from capi_llm.kube.client import CHUNK, Api
from capi_llm.kube.resources import CONFIGMAPS, Object, Ref

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_KINDS_AT_ONCE = 12

Notes = dict[str, dict[str, str]]
"""URL path of a kind's list → ``NAMESPACE/NAME`` → the object and our note on it, as one word."""


def write(api: Api, name: str, key: str, applied: Iterable[Applied]) -> None:
    """Record that ``applied``, which ``key`` stands for, is in place. Writes nothing where it is recorded.

    ``name`` is that of a ConfigMap in kube-system.
    """
    wanted: dict[str, set[str]] = {}
    for item in applied:
        wanted.setdefault(item.ref.resource.path(), set()).add(name_of(item.ref))
    notes = notes_of(api, wanted)
    apply(
        api,
        [
            {
                "apiVersion": CONFIGMAPS.api_version,
                "kind": CONFIGMAPS.kind,
                "metadata": {"name": name, "namespace": "kube-system"},
                "data": {"for": key, "objects": json.dumps(notes, sort_keys=True, indent=1)},
            }
        ],
    )


def holds(api: Api, name: str, key: str) -> int:
    """How many objects are as they were applied for ``key``; 0 where that is not known.

    Raises where the API server does not answer or refuses.
    """
    recorded = _read(api.find(Ref(CONFIGMAPS, name, "kube-system")), key)
    if not recorded:
        return 0
    now = notes_of(api, {path: set(notes) for path, notes in recorded.items()})
    return sum(map(len, recorded.values())) if now == recorded else 0


def _read(record: Object | None, key: str) -> Notes:
    data = (record or {}).get("data") or {}
    if data.get("for") != key:
        return {}
    try:
        found = json.loads(data["objects"])
        return {path: dict(notes) for path, notes in found.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}  # somebody's own text: the dry run has to tell


def notes_of(api: Api, wanted: dict[str, set[str]]) -> Notes:
    """Our notes on the objects ``wanted``, ``NAMESPACE/NAME`` by the path of their kind's list."""

    def of(path: str) -> dict[str, str]:
        return {
            name: _note(metadata)
            for metadata in _metadata(api, path)
            if (name := _name(metadata.get("namespace"), metadata["name"])) in wanted[path]
        }

    with ThreadPoolExecutor(max(1, min(len(wanted), _KINDS_AT_ONCE)), thread_name_prefix="look") as pool:
        return dict(zip(wanted, pool.map(of, wanted), strict=True))


def _metadata(api: Api, path: str) -> Iterable[Any]:
    query = {"limit": str(CHUNK)}
    while True:
        page = api.request("GET", path, query=query, what="can not list", accept=_METADATA)
        if not isinstance(page, dict) or not isinstance(page.get("metadata"), dict):
            raise ApiError("can not list", status=200, on=path, why="the answer is no list")
        for item in page.get("items") or []:
            yield item["metadata"]
        token = page["metadata"].get("continue")
        if not token:
            return
        query["continue"] = token


def _note(metadata: Any) -> str:
    """The object's UID and our own entry of managedFields, its time included."""
    ours = [
        entry
        for entry in metadata.get("managedFields") or []
        if (entry.get("manager"), entry.get("operation")) == (MANAGER, "Apply")
    ]
    deleting = metadata.get("deletionTimestamp", "")
    text = json.dumps([metadata["uid"], deleting, ours], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20] if ours else ""


def name_of(ref: Ref) -> str:
    """``NAMESPACE/NAME``, as notes are found by."""
    return _name(ref.namespace, ref.name)


def _name(namespace: str | None, name: str) -> str:
    return f"{namespace or ''}/{name}"
