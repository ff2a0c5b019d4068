"""Server-side apply of many objects, which writes only what differs.

An object that exists is read first. Where it plainly is as it should be already
(:mod:`capi_llm.kube.owned`), that is all; otherwise it is applied as a dry run, which goes
through the server's defaulting and admission, and only where that differs is it written. So
a second run with the same objects sends no mutating request, wakes no controller and leaves
no entry in an audit log's changes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

from capi_llm import waiting
from capi_llm.contract.conditions import deleting, finalizers
from capi_llm.errors import ApiError, BadInput, CapiLlmError, Interrupted, NotFound
from capi_llm.kube import definitions
from capi_llm.kube.client import Api
from capi_llm.kube.difference import changed_paths
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.owned import in_place
from capi_llm.kube.resources import CRDS, Object, Ref, Resource

MANAGER = "capi-llm"
"""Our field manager."""

Action = Literal["created", "configured", "unchanged"]
_FIRST = {("v1", "Namespace"), (CRDS.api_version, CRDS.kind)}
_RACES = 3
_MANY = 16
"""Objects of one kind and namespace that are read by one list instead of one by one."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Applied:
    """What became of one object. ``changed`` are the paths that differed, for ``configured`` only."""

    ref: Ref
    action: Action
    changed: tuple[str, ...] = ()


def apply(
    api: Api,
    objects: Iterable[Object],
    *,
    manager: str = MANAGER,
    dry_run: bool = False,
    admission: bool = False,
    force: bool = True,
    admit: Callable[[Object], None] = lambda live: None,
    workers: int = 12,
    timeout: float = 60.0,
    cancel: waiting.Cancel | None = None,
) -> list[Applied]:
    """Make ``objects`` be as given; fields that other managers own and ``objects`` do not name stay.

    Namespaces and CustomResourceDefinitions go first, and the definitions are waited for
    (``timeout`` seconds); the rest follows side by side. Returns one Applied per object, in
    order. With ``dry_run`` nothing is written, and objects whose namespace or kind would
    only come with this apply count as created. With ``admission`` the server is asked also
    about objects that are missing (in a dry run) and where nothing differs, which proves that
    its webhooks answer and let the objects in. Without ``force``, a field that another manager owns
    with another value is a Conflict. ``admit`` is shown each object as it is now, and may raise.

    Raises BadInput before anything is sent where a manifest has no name or kind or comes
    twice. Otherwise every object is tried, and one error names all that failed: of the
    common class where they failed alike, so that an API server that is away is Unavailable.
    Interrupted where ``cancel`` is set: what is under way ends, the rest is not begun.
    """
    wanted = list(objects)
    _check(wanted)
    how = _How(manager, dry_run, admission, force, admit, timeout)
    run = _Run(api, how, wanted, cancel or waiting.Cancel())
    done: dict[int, Applied] = {}
    first = [index for index, obj in enumerate(wanted) if _is_first(obj)]
    for stage in (first, [index for index in range(len(wanted)) if index not in set(first)]):
        if stage is not first:
            run.look_ahead([wanted[index] for index in stage])
        results = _side_by_side(lambda index: run.one(wanted[index]), stage, workers)
        _raise_failures([result for result in results if isinstance(result, CapiLlmError)], len(wanted))
        done |= {index: item for index, item in zip(stage, results, strict=True) if isinstance(item, Applied)}
        if stage is first and not dry_run:
            crds = [done[index].ref for index in first if done[index].ref.resource == CRDS]
            definitions.wait_established(api, crds, timeout=timeout, cancel=cancel)
    return [done[index] for index in range(len(wanted))]


@dataclass(frozen=True)
class _How:
    """The options of one :func:`apply`."""

    manager: str
    dry_run: bool
    admission: bool
    force: bool
    admit: Callable[[Object], None]
    timeout: float


class _Run:
    """One call of :func:`apply`."""

    def __init__(self, api: Api, how: _How, objects: Sequence[Object], cancel: waiting.Cancel) -> None:
        self._api = api
        self._how = how
        self._cancel = cancel
        self._discovery = Discovery(api)
        self._seen: dict[Ref, Object | None] = {}
        self._coming = {
            (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): crd["spec"]
            for crd in objects
            if crd.get("kind") == CRDS.kind and crd.get("apiVersion") == CRDS.api_version
            for version in crd["spec"]["versions"]
        }

    def look_ahead(self, objects: Iterable[Object]) -> None:
        """Read those of ``objects`` that are many of a kind, as far as one page of a list has them."""
        groups: dict[tuple[str, str, str], list[Object]] = {}
        for obj in objects:
            where = obj["metadata"].get("namespace") or ""
            groups.setdefault((obj["apiVersion"], obj["kind"], where), []).append(obj)
        for group in groups.values():
            if len(group) >= _MANY:
                # Not allowed, not served yet, away: each object is read by itself, and says so.
                with contextlib.suppress(CapiLlmError):
                    self._look_at(group)

    def _look_at(self, group: Sequence[Object]) -> None:
        resource = self._resource_for(group[0])
        refs = [resource.ref(obj) for obj in group]
        # Not more than twice of what is asked for, whatever else there is.
        found, complete = self._api.first(resource, refs[0].namespace, 2 * len(group))
        seen = {resource.ref(item): item for item in found}
        self._seen |= {ref: seen.get(ref) for ref in refs if complete or ref in seen}

    def one(self, obj: Object) -> Applied:
        self._cancel.check()
        resource = self._resource_for(obj)
        ref = resource.ref(obj)
        body = _body(obj, resource)
        live = self._live(ref)
        if live is None:
            self._create(ref, body)
            return Applied(ref, "created")
        self._how.admit(live)
        if not self._how.admission and in_place(live, body, manager=self._how.manager):
            return Applied(ref, "unchanged")
        changed: tuple[str, ...] = ()
        for _ in range(_RACES):
            trial = self._send(ref, body, dry_run=True)
            changed = changed_paths(live, trial, manager=self._how.manager, status="status" in body)
            if not changed:
                return Applied(ref, "unchanged")
            if trial["metadata"].get("resourceVersion") == live["metadata"].get("resourceVersion"):
                break
            # Someone else wrote between the two reads: compare with what they left.
            live = self._api.find(ref) or live
        if not self._how.dry_run:
            self._send(ref, body)
        return Applied(ref, "configured", changed)

    def _send(self, ref: Ref, body: Object, *, dry_run: bool = False) -> Object:
        return self._api.server_side_apply(
            ref, body, manager=self._how.manager, force=self._how.force, dry_run=dry_run
        )

    def _resource_for(self, obj: Object) -> Resource:
        spec = self._coming.get((obj["apiVersion"], obj["kind"]))
        if spec is None:
            return self._discovery.resource_for(obj)
        # An established CRD appears in discovery a moment later, and in a dry run never.
        group, version = obj["apiVersion"].split("/")
        return Resource(group, version, spec["names"]["plural"], obj["kind"], spec["scope"] == "Namespaced")

    def _live(self, ref: Ref) -> Object | None:
        """The object, or None; one that is being deleted is waited for, as an apply to it would be lost."""
        live = self._seen[ref] if ref in self._seen else self._api.find(ref)
        if live is None or not deleting(live) or self._how.dry_run:
            return live

        def probe() -> waiting.Status:
            now = self._api.find(ref)
            if now is None or now["metadata"]["uid"] != live["metadata"]["uid"]:
                return waiting.ready()
            holders = ", ".join(finalizers(now)) or "the server"
            return waiting.pending(f"it is still being deleted; held by {holders}")

        waiter = waiting.Waiter(interval=0.2, cancel=self._cancel)
        waiting.until(probe, what=f"the deletion of {ref}", timeout=self._how.timeout, waiter=waiter)
        return self._api.find(ref)

    def _create(self, ref: Ref, body: Object) -> None:
        if self._how.dry_run and not self._how.admission:
            return
        if self._how.dry_run:
            # Not found: its namespace or kind would only come with this apply.
            with contextlib.suppress(NotFound):
                self._send(ref, body, dry_run=True)
            return
        deadline = time.monotonic() + self._how.timeout
        bell = waiting.Wakeup()
        while True:
            self._cancel.check()
            try:
                self._send(ref, body)
                return
            except NotFound:
                # The paths of a new kind are served a moment after it is established.
                if (ref.resource.api_version, ref.resource.kind) not in self._coming:
                    raise
                if time.monotonic() > deadline:
                    raise
            bell.wait(bell.rings(), 0.1)


def _check(objects: Sequence[Object]) -> None:
    seen: set[tuple[str, ...]] = set()
    for obj in objects:
        metadata = obj.get("metadata") or {}
        if not obj.get("apiVersion") or not obj.get("kind") or not metadata.get("name"):
            raise BadInput(
                "a manifest has no apiVersion, kind or metadata.name",
                on=f"{obj.get('kind', 'without a kind')} {metadata.get('name', 'without a name')}",
            )
        group = obj["apiVersion"].rpartition("/")[0]
        key = (group, obj["kind"], metadata.get("namespace") or "", metadata["name"])
        if key in seen:
            raise BadInput("the same object is given twice", on=" ".join(filter(None, key[1:])))
        seen.add(key)


def _is_first(obj: Object) -> bool:
    return (obj["apiVersion"], obj["kind"]) in _FIRST


def _body(obj: Object, resource: Resource) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if not resource.namespaced:
        metadata.pop("namespace", None)
    return obj | {"metadata": metadata}


def _side_by_side(
    function: Callable[[_In], _Out], items: Sequence[_In], workers: int
) -> list[_Out | CapiLlmError]:
    """``function`` of each item on up to ``workers`` threads; failures take the place of results."""

    def guarded(item: _In) -> _Out | CapiLlmError:
        try:
            return function(item)
        except CapiLlmError as error:
            return error

    if not items:
        return []
    pool = ThreadPoolExecutor(max(1, min(workers, len(items))), thread_name_prefix="apply")
    try:
        return list(pool.map(guarded, items))
    finally:
        # On Ctrl-C: what runs ends, what waits is not begun.
        pool.shutdown(wait=True, cancel_futures=True)


def _raise_failures(failures: Sequence[CapiLlmError], total: int) -> None:
    if not failures:
        return
    for error in failures:
        if isinstance(error, Interrupted):
            raise error
    if len(failures) == 1:
        raise failures[0]
    what = f"{len(failures)} of {total} objects could not be applied"
    why = "; ".join(str(error).splitlines()[0] for error in failures)
    fix = next((error.fix for error in failures if error.fix), "")
    kind = type(failures[0])
    if any(type(error) is not kind for error in failures):
        raise CapiLlmError(what, why=why, fix=fix)
    if issubclass(kind, ApiError):
        raise kind(what, status=getattr(failures[0], "status", 0), why=why, fix=fix)
    raise kind(what, why=why, fix=fix)
