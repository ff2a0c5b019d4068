"""What a change would do, as the API server and Cluster API's webhooks say it: server-side dry runs.

A dry run goes through schema, defaulting and every webhook, and is not stored. So objects that
depend on each other in one file can not be asked about together: a Cluster of a class that the
same file brings is checked against a class that is not there. Such objects are reported as not
asked. Which machines a change would replace is not known to webhooks at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from capi_llm import documents
from capi_llm.clusters import amend, specfile
from capi_llm.clusters.spec import ClusterSpec, Given
from capi_llm.clusters.topology import class_of, manifest
from capi_llm.contract import refusal
from capi_llm.errors import BadInput, CapiLlmError, Forbidden, Invalid, NotFound
from capi_llm.kube.apply import MANAGER
from capi_llm.kube.client import MERGE_PATCH, Api
from capi_llm.kube.difference import Change, changes
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import CLUSTER_CLASSES, CLUSTERS, CRDS, NAMESPACES, SECRETS, Object, Ref

APPLY_PATCH = "application/apply-patch+yaml"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Action = Literal["create", "change", "none", "unknown"]
Verdict = Literal["accepted", "refused", "not asked"]


@dataclass(frozen=True)
class Item:
    """One object: what would become of it, what is said about it, and what differs.

    ``why`` are the reasons of a refusal, or why it could not be asked; ``notes`` what has to be
    known besides, the server's own warnings among it.
    """

    ref: Ref
    action: Action
    verdict: Verdict
    changes: tuple[Change, ...] = ()
    why: tuple[str, ...] = ()
    fix: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """What one file holds: a ClusterSpec, or manifests."""

    given: Given | None = None
    objects: tuple[Object, ...] = ()


def load(path: Path) -> Source:
    """Read a ClusterSpec file or manifests. Raises NotFound, BadInput."""
    try:
        text = documents.read(path, "-f")
    except FileNotFoundError as error:
        raise NotFound("the file does not exist", on=str(path), fix="check -f") from error
    read = documents.load(text, path.name)
    found = [document.data for document in read]
    kinds = {doc.get("kind", specfile.KIND) if isinstance(doc, dict) else "" for doc in found}
    if kinds == {specfile.KIND}:
        return Source(given=specfile.of_documents(read, path.name))
    objects: list[Object] = []
    for document in found:
        listed = isinstance(document, dict) and document.get("kind") == "List"
        for obj in document.get("items") or [] if listed else [document]:
            metadata = obj.get("metadata") if isinstance(obj, dict) else None
            if not isinstance(metadata, dict) or not metadata.get("name") or not obj.get("apiVersion"):
                raise BadInput("the file holds something that is not a Kubernetes object", on=str(path))
            objects.append(obj)
    if not objects:
        raise BadInput("the file is empty", on=str(path))
    return Source(objects=tuple(objects))


def of_change(
    api: Api, objects: Sequence[Object], specs: Sequence[ClusterSpec] = (), *, namespace: str = "default"
) -> list[Item]:
    """What applying ``objects`` would do to each, in their order, and ``specs`` to their clusters.

    ``namespace`` is for objects without one. A cluster is created, or changed in what was said.
    """
    trial = _Trial(api, [_in(obj, namespace) for obj in objects])
    return [*map(trial.one, trial.objects), *map(trial.spec, specs)]


class _Trial:
    """One plan: what comes with it matters for its other objects."""

    def __init__(self, api: Api, objects: Sequence[Object]) -> None:
        self.objects = objects
        self._api = api
        self._discovery = Discovery(api)
        self._coming = {(obj["kind"], _namespace(obj), obj["metadata"]["name"]) for obj in objects}
        self._names = {(obj["kind"], obj["metadata"]["name"]) for obj in objects}
        self._kinds = {
            obj["spec"]["names"]["kind"] for obj in objects if obj["kind"] == CRDS.kind and obj.get("spec")
        }

    def one(self, obj: Object) -> Item:
        try:
            resource = self._discovery.resource_for(obj)
        except NotFound as error:
            ref = replace(CLUSTERS, kind=obj["kind"]).ref(obj)
            if obj["kind"] in self._kinds:
                return _not_asked(ref, "its kind comes with the same change")
            return Item(ref, "unknown", "refused", why=(error.brief,), fix=error.fix)
        ref = resource.ref(obj)
        live = self._api.find(ref)
        home = Ref(NAMESPACES, ref.namespace or "")
        if (home.resource.kind, home.name) in self._names and live is None and self._api.find(home) is None:
            return _not_asked(ref, f"its namespace {home.name} comes with the same change")
        if resource == CLUSTERS and (problem := self._class_comes(obj)):
            return _not_asked(ref, problem)
        if not resource.namespaced:
            obj["metadata"].pop("namespace", None)
        item = self.ask(ref, obj, live)
        notes = (*item.notes, *self._notes(obj))
        return replace(item, notes=notes)

    def spec(self, want: ClusterSpec) -> Item:
        ref, wanted = Ref(CLUSTERS, want.name, want.namespace), manifest(want)
        live = self._api.find(ref)
        if problem := self._class_comes(wanted):
            return _not_asked(ref, problem)
        if live is None:
            item = self.ask(ref, wanted, None)
        elif not (live.get("spec") or {}).get("topology"):
            why = "it was not made from a ClusterClass"
            return Item(ref, "unknown", "refused", why=(why,), fix="choose another name")
        else:
            item = self.ask(ref, amend.patch(live, want), live, merge=True)
        return replace(item, notes=(*item.notes, *self._notes(wanted)))

    def ask(self, ref: Ref, body: Object, live: Object | None, *, merge: bool = False) -> Item:
        """Send the dry run that answers for ``body``: an apply; with ``merge``, it is a patch itself."""
        query = {"dryRun": "All", "fieldManager": MANAGER}
        content = MERGE_PATCH
        if not merge:
            manager = _applied_by(live) if live is not None else MANAGER
            if manager:
                query |= {"fieldManager": manager, "force": "true"}
                content = APPLY_PATCH
            elif live is not None:
                body = _as_kubectl_applies(body, live)
        action: Action = "create" if live is None else "unknown"
        said: list[str] = []
        try:
            wanted = self._api.request(
                "PATCH",
                ref.path,
                body={"apiVersion": ref.resource.api_version, "kind": ref.resource.kind} | body,
                content_type=content,
                query=query,
                what="would be refused",
                on=str(ref),
                warnings=said,
            )
        except (Invalid, Forbidden, NotFound) as error:
            # The server says only why; what differs is seen from here.
            found = changes(live, _merged(live, body)) if live is not None else ()
            return replace(_refused(ref, action, error), changes=_shown(ref, found))
        if live is None:
            return Item(ref, "create", "accepted", notes=tuple(said))
        found = _shown(ref, changes(live, wanted))
        return Item(ref, "change" if found else "none", "accepted", found, notes=tuple(said))

    def _class_comes(self, cluster: Object) -> str:
        """Why the webhook could not judge: its class is not there yet, or would be changed as well."""
        name = class_of(cluster)
        if not name:
            return ""
        namespace, _, name = name.rpartition("/")
        namespace = namespace or _namespace(cluster)
        if (CLUSTER_CLASSES.kind, namespace, name) not in self._coming:
            return ""
        if self._api.find(Ref(CLUSTER_CLASSES, name, namespace)) is None:
            return (
                f"its ClusterClass {namespace}/{name} comes with the same change, and Cluster API checks a "
                "topology only against a class that is there"
            )
        return ""

    def _notes(self, obj: Object) -> Iterator[str]:
        kind = obj["kind"]
        if kind == CLUSTERS.kind and (name := class_of(obj)):
            namespace, _, name = name.rpartition("/")
            if (CLUSTER_CLASSES.kind, namespace or _namespace(obj), name) in self._coming:
                yield "checked against its ClusterClass as it is now, not as this change makes it"
        if kind != CLUSTER_CLASSES.kind:
            return
        for reference in _references(obj.get("spec") or {}):
            named = {
                **reference,
                "metadata": {"name": reference.get("name", ""), "namespace": _namespace(obj)},
            }
            if (named["kind"], named["metadata"]["name"]) in self._names:
                continue
            try:
                there = self._api.find(self._discovery.resource_for(named).ref(named)) is not None
            except CapiLlmError:
                there = False
            if not there:
                yield (
                    f"refers to {named['kind']} {named['metadata']['name']}, which is neither there nor part "
                    "of this change; webhooks do not look for it"
                )


def _refused(ref: Ref, action: Action, error: CapiLlmError) -> Item:
    found = refusal.reasons(error.why)
    fix = error.fix
    if any(reason.immutable for reason in found):
        fix = (
            f"give it a new name, such as {_next(ref.name)}, here and in the ClusterClass that refers to it; "
            "Cluster API then replaces the machines made from it"
        )
    return Item(ref, action, "refused", why=tuple(str(reason) for reason in found), fix=fix)


def _not_asked(ref: Ref, why: str) -> Item:
    return Item(ref, "create", "not asked", why=(why,), fix="capi-llm rehearse -f FILE tries it for real")


def _applied_by(live: Object) -> str:
    """The manager whose server-side apply the object is from; empty where it is from none.

    Cluster API applies too, under names of its own.
    """
    managers = [
        str(entry.get("manager"))
        for entry in live["metadata"].get("managedFields") or []
        if entry.get("operation") == "Apply" and not entry.get("subresource")
    ]
    managers = [name for name in managers if not name.startswith(("capi-", "capd-")) or name == MANAGER]
    return MANAGER if MANAGER in managers else managers[0] if managers else ""


def _as_kubectl_applies(body: Object, live: Object) -> Object:
    """The merge patch of ``kubectl apply``: ``body``, without what was applied last time and is not in it."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED, "{}")
    try:
        before = json.loads(text)
    except ValueError:
        before = {}
    return _without(before if isinstance(before, dict) else {}, body)


def _without(before: Mapping[str, Any], now: Mapping[str, Any]) -> Object:
    patch: Object = {key: None for key in before if key not in now}
    for key, value in now.items():
        old = before.get(key)
        patch[key] = (
            _without(old if isinstance(old, dict) else {}, value) if isinstance(value, dict) else value
        )
    return patch


def _merged(live: Any, patch: Any) -> Any:
    """``live`` with a JSON merge patch (RFC 7386) over it."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _shown(ref: Ref, found: tuple[Change, ...]) -> tuple[Change, ...]:
    hidden = "(hidden)"
    return tuple(Change(item.path, hidden, hidden) for item in found) if ref.resource == SECRETS else found


def _references(value: Any) -> Iterator[Object]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "ref" and isinstance(item, dict) and "kind" in item:
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _in(obj: Object, namespace: str) -> Object:
    metadata = {"namespace": namespace} | obj["metadata"]
    return {key: value for key, value in obj.items() if key != "status"} | {"metadata": metadata}


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace") or "default")


def _next(name: str) -> str:
    match = re.fullmatch(r"(.*-v)(\d+)", name)
    return f"{match[1]}{int(match[2]) + 1}" if match else f"{name}-v2"
