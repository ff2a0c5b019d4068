"""From changes to looks: informers put keys into the queue, a few workers look at what is due."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from capi_llm.contract.conditions import status_of
from capi_llm.errors import (
    CapiLlmError,
    Conflict,
    Forbidden,
    Interrupted,
    NotFound,
    Unauthorized,
    Unavailable,
)
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, MACHINES, Object, Ref, Resource
from capi_llm.kube.store import Change
from capi_llm.provider import cluster, control_plane, machine
from capi_llm.provider.kinds import (
    KWOK_CLUSTERS,
    KWOK_CONTROL_PLANES,
    KWOK_MACHINES,
    OURS,
    cluster_of,
)
from capi_llm.provider.queue import Queue
from capi_llm.provider.world import KINDS, Condition, World
from capi_llm.sandbox.workload import Workloads, read
from capi_llm.waiting import Cancel

WORKERS = 4
SWEEP_SECONDS = 30.0
_FIRST_LIST_SECONDS = 5.0

Reconcile = Callable[[World, Ref], float | None]

RECONCILERS: dict[Resource, Reconcile] = {
    KWOK_CLUSTERS: cluster.reconcile,
    KWOK_CONTROL_PLANES: control_plane.reconcile,
    KWOK_MACHINES: machine.reconcile,
}

_log = logging.getLogger(__name__)


class Loop:
    """One sandbox's provider. ``ready`` once it knows every object and looks at them."""

    def __init__(self, api: Api, workloads: Workloads, cancel: Cancel) -> None:
        self._world = World(api, workloads)
        self._workloads = workloads
        self._cancel = cancel
        self._queue: Queue[Ref] = Queue()
        self.ready = False

    def run(self) -> None:
        """Work until ``cancel`` is set. Raises Unauthorized and Forbidden: the supervisor starts it again."""
        workers = [threading.Thread(target=self._work, name=f"worker {n}") for n in range(WORKERS)]
        try:
            for kind in KINDS:
                self._follow(kind)
            for kind in KINDS:
                self._wait_for(kind)
            for worker in workers:
                worker.start()
            self.ready = True
            _log.info("ready")
            while not self._cancel.is_set:
                self._still_let_in()
                self._sweep()
                self._cancel.sleep(SWEEP_SECONDS)
        except Interrupted:
            pass
        finally:
            self._queue.close()
            for worker in workers:
                if worker.is_alive():
                    worker.join()
            for informer in self._world.informers.values():
                informer.stop()

    def _follow(self, kind: Resource) -> None:
        """Have a look for each object of ``kind``, and for each change of one."""

        def changed(change: Change, obj: Object) -> None:
            for ref in self._touched(kind, obj):
                self._queue.add(ref)

        self._world.informers[kind].add_listener(changed)
        self._world.informers[kind].start()

    def _wait_for(self, kind: Resource) -> None:
        """Wait until the objects of ``kind`` are known; the API server, or the kind, may not be there yet."""
        while True:
            try:
                self._world.informers[kind].wait_synced(_FIRST_LIST_SECONDS, self._cancel)
                return
            except (Unavailable, NotFound) as error:
                _log.info("waiting: %s", error.brief)
                self._cancel.sleep(0.5)

    def _still_let_in(self) -> None:
        for informer in self._world.informers.values():
            with contextlib.suppress(Unavailable, NotFound):
                informer.check()

    def _touched(self, kind: Resource, obj: Object) -> Iterator[Ref]:
        """What is to be looked at when ``obj`` has changed."""
        namespace = obj["metadata"]["namespace"]
        if kind in OURS:
            yield kind.ref(obj)
        if kind == KWOK_CONTROL_PLANES:
            yield from self._of_cluster(KWOK_CLUSTERS, namespace, cluster_of(obj))
        if kind == MACHINES:
            infrastructure = obj["spec"].get("infrastructureRef") or {}
            if infrastructure.get("kind") == KWOK_MACHINES.kind:
                yield Ref(KWOK_MACHINES, infrastructure["name"], namespace)
        if kind == CLUSTERS:
            for own in OURS:
                yield from self._of_cluster(own, namespace, obj["metadata"]["name"])

    def _of_cluster(self, kind: Resource, namespace: str, name: str) -> list[Ref]:
        # Not known yet: the kind's own first list brings a look for each of its objects.
        with contextlib.suppress(CapiLlmError):
            return [kind.ref(item) for item in self._world.of_cluster(kind, namespace, name)]
        return []

    def _work(self) -> None:
        while (ref := self._queue.take()) is not None:
            try:
                again = RECONCILERS[ref.resource](self._world, ref)
            except (Conflict, NotFound, Unavailable) as error:
                # Something else was first, or a server is away: it passes.
                _log.debug("%s: %s", ref, error.brief)
                self._queue.failed(ref)
            except CapiLlmError as error:
                _log.warning("%s: again in %.1f s: %s", ref, self._queue.failed(ref), error.brief)
                self._tell(ref, error)
            except Exception:
                _log.exception("%s: again in %.1f s", ref, self._queue.failed(ref))
            else:
                self._queue.done(ref, again)

    def _tell(self, ref: Ref, error: CapiLlmError) -> None:
        """Have the reason in the object's condition, where Cluster API and ``status`` show it."""
        word = "Available" if ref.resource == KWOK_CONTROL_PLANES else "Ready"
        with contextlib.suppress(CapiLlmError):
            obj = self._world.find(ref)
            if obj is not None:
                ready = bool(status_of(obj).get("ready"))
                condition = Condition(word, False, "Error", error.brief)
                self._world.set_status(ref, obj, {"ready": ready}, condition)

    def _sweep(self) -> None:
        """Remove control planes whose Cluster's objects are gone, also without us having taken part in it."""
        for folder in self._workloads.folders():
            with self._told():
                workload = read(folder)
                # Asked now: what an informer does not know may be too new for it.
                if workload is not None and workload.uid not in self._owners():
                    _log.warning("removing %s, which belongs to no cluster any more", folder.name)
                    self._workloads.remove(folder)
        with self._told():
            for name in self._workloads.remove_unnamed():
                _log.warning("removed %s, which did not say whose it was", name)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except CapiLlmError as error:
            if isinstance(error, Unauthorized | Forbidden):
                raise
            _log.warning("looking for what is left over: %s", error.brief)

    def _owners(self) -> set[str]:
        """The UIDs of all Clusters, and of those that our objects say they belong to."""
        api = self._world.api
        found = {obj["metadata"]["uid"] for obj in api.list(CLUSTERS, slim=True)}
        for kind in (KWOK_CLUSTERS, KWOK_CONTROL_PLANES):
            for obj in api.list(kind, slim=True):
                found |= {item["uid"] for item in obj["metadata"].get("ownerReferences") or ()}
        return found
