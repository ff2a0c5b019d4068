"""Several clusters from one spec, made side by side: NAME-1, NAME-2 and so on.

What is the same for all is asked once: namespace, class, the list of clusters that are there.
One set of informers and one probe serve all waits, so that a cluster more costs the API
server its own objects and nothing else.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from capi_llm.clusters import create, kubeconfig, spec, tree
from capi_llm.clusters.classes import ClassInfo
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.contract.capi import control_plane_initialized
from capi_llm.contract.conditions import deleting
from capi_llm.errors import BadInput, CapiLlmError, Interrupted, Refused, TimedOut
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, MACHINE_DEPLOYMENTS, Object
from capi_llm.provider.kinds import KWOK_CONTROL_PLANES
from capi_llm.sandbox import ports, processes
from capi_llm.sandbox.workload import MEMORY_BYTES
from capi_llm.waiting import Status, Waiter, failed, pending, ready, until

MOST = 100
"""Clusters that one command makes."""

_THREADS = 8
_REST = 0.25
_SEEN = 10.0

Lock = Callable[[str], contextlib.AbstractContextManager[None]]
"""The lock of the cluster of that name, to be held while it is worked on."""


@dataclass
class Member:
    """One of the clusters, and how far it is. ``seconds`` from the beginning to its end, whatever that is."""

    spec: ClusterSpec
    action: str = ""
    status: Status = field(default_factory=lambda: pending("waits for its turn"))
    error: CapiLlmError | None = None
    kubeconfig: Path | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def ended(self) -> bool:
        return self.status.ready or self.status.failed


Work = Callable[[Member], None]
"""Something to do for one cluster, on a thread of its own."""


def specs(one: ClusterSpec, count: int, where: str = "--count") -> tuple[ClusterSpec, ...]:
    """``one`` as NAME-1 to NAME-``count``. Raises BadInput for a number not from 1 to 100, or a long name."""
    if not 1 <= count <= MOST:
        raise BadInput(
            f"{where}: {count} is not a number of clusters to make at once",
            why=f"it is 1 to {MOST}",
            fix=f"use {min(max(count, 1), MOST)}",
        )
    return tuple(spec.check(replace(one, name=f"{one.name}-{number}")) for number in range(1, count + 1))


def check_room(api: Api, wanted: Sequence[ClusterSpec], info: ClassInfo) -> None:
    """Raise Refused where a sandbox has no room for those of ``wanted``, of class ``info``, that are missing.

    Simulated machines have a fixed number of ports; control planes that are processes take memory.
    """
    found = api.list(CLUSTERS)
    there = {(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in found}
    missing = sum((item.namespace, item.name) not in there for item in wanted)
    if info.control_plane.startswith(KWOK_CONTROL_PLANES.kind):
        free = processes.free_memory()
        if missing * MEMORY_BYTES > free:
            raise Refused(
                f"this machine has memory for {free // MEMORY_BYTES} more clusters of class {info.name}, "
                f"and {missing} are asked for",
                why=f"{free // 1024**2} MiB are free, and each takes {MEMORY_BYTES // 1024**2}",
                fix="make fewer, or take --class in-memory-llm-clusterclass, which needs no processes",
            )
        return
    if not info.in_memory:
        return
    endpoints = ((obj.get("spec") or {}).get("controlPlaneEndpoint") or {} for obj in found)
    room = ports.room(int(item.get("port") or 0) for item in endpoints)
    if missing > room:
        raise Refused(
            f"the sandbox has room for {room} more clusters, and {missing} are asked for",
            why="its in-memory provider has one port for each, and uses none a second time",
            fix="make the others on another sandbox: capi-llm bootstrap --name NAME",
        )


class Several:
    """One command's clusters. ``prepared`` are specs of one namespace and class, checked against it."""

    def __init__(
        self,
        informers: Informers,
        prepared: Sequence[ClusterSpec],
        lock: Lock,
        on_change: Callable[[Sequence[Member]], None] = lambda members: None,
        on_answer: Callable[[str], None] | None = None,
    ) -> None:
        """``on_answer`` gets the name of each cluster, on a thread, once its API server answers; what it
        raises is that cluster's end."""
        self.members = tuple(Member(item) for item in prepared)
        self._informers = informers
        self._namespace = prepared[0].namespace
        self._lock = lock
        self._on_change = on_change
        self._on_answer = on_answer
        self._answered: set[str] = set()
        self._told = threading.Lock()
        self._locks: dict[str, contextlib.ExitStack] = {}
        self._started = time.monotonic()
        self._newest: Object | None = None
        self._busy: set[str] = set()  # with work under way, or ended for good by it
        self._folder = Path()

    def run(self, *, wait: bool, kubeconfigs: Path, timeout: float, waiter: Waiter | None = None) -> None:
        """Create those that are missing, compare the others, wait for all, and save their kubeconfigs.

        ``timeout`` (seconds) is for all together. Never raises for one cluster: see its
        ``error``. Raises Interrupted, and what makes all of them impossible.
        """
        waiter = waiter or Waiter()
        existing = {obj["metadata"]["name"]: obj for obj in self._clusters()}
        with (
            ThreadPoolExecutor(_THREADS, thread_name_prefix="cluster") as pool,
            contextlib.ExitStack() as end,
        ):
            end.callback(self._release_all, pool)
            makings = [pool.submit(self._make, member, existing.get(member.name)) for member in self.members]
            _results(makings)
            if not wait:
                for member in self.members:
                    if member.error is None:
                        self._end(member, ready())
                return
            self._catch_up()
            begun: list[Future[None]] = []

            def begin(work: Work, member: Member) -> None:
                begun.append(pool.submit(work, member))

            self._folder = kubeconfigs
            bell = replace(waiter, wakeup=self._informers.wakeup, rest=_REST)
            with contextlib.suppress(TimedOut):
                until(lambda: self._look(begin), what="the clusters", timeout=timeout, waiter=bell)
            _results(begun)
            for member in self.members:
                if not member.ended:
                    self._fail(member, _late(member, timeout))

    def _make(self, member: Member, existing: Object | None) -> None:
        stack = contextlib.ExitStack()
        self._locks[member.name] = stack
        try:
            stack.enter_context(self._lock(member.name))
            outcome = create.ensure(self._informers.api, member.spec, existing)
        except CapiLlmError as error:
            self._fail(member, error)
            return
        member.action, member.status = outcome.action, pending(outcome.action)
        with self._told:
            self._newest = _newer(self._newest, outcome.obj)
        self._tell()

    def _look(self, begin: Callable[[Work, Member], None]) -> Status:
        """One look at all that have not ended. What there is to do for one whose API server answers now, or
        that is ready now, is handed to ``begin``."""
        waiting = {member.name: member for member in self.members if not member.ended}
        objects = self._objects(set(waiting))
        if self._on_answer is not None:
            up = {obj["metadata"]["name"] for obj in objects.clusters if control_plane_initialized(obj)}
            for name in sorted(up - self._answered):
                self._answered.add(name)
                self._busy.add(name)
                begin(self._answers, waiting[name])
        for view in tree.overview(objects):
            member = waiting.pop(view.name)
            if member.name in self._busy:
                continue  # its end is that work's to say, which may come while this looks
            if view.phase == "Deleting":
                self._fail(
                    member, CapiLlmError(f"cluster {view.name!r} is being deleted", why=view.status.cause)
                )
            elif view.status.failed:
                self._fail(
                    member,
                    CapiLlmError(
                        f"cluster {view.name!r} failed", why=view.status.message, fix=view.status.fix
                    ),
                )
            elif view.status.ready:
                member.status = pending("saving its kubeconfig")
                self._busy.add(member.name)
                begin(self._save, member)
            else:
                member.status = view.status
        for member in waiting.values():
            if member.name not in self._busy:
                self._fail(member, CapiLlmError(f"cluster {member.name!r} does not exist any more"))
        self._tell()
        left = [member for member in self.members if not member.ended]
        if not left:
            return ready()
        return pending(f"{len(self.members) - len(left)} of {len(self.members)} are ready")

    def _answers(self, member: Member) -> None:
        assert self._on_answer is not None
        try:
            self._on_answer(member.name)
        except CapiLlmError as error:
            self._fail(member, error)
        else:
            self._busy.discard(member.name)
        self._informers.wakeup.ring()

    def _save(self, member: Member) -> None:
        try:
            text = kubeconfig.fetch(self._informers.api, member.name, self._namespace)
            member.kubeconfig = kubeconfig.save(text, member.name, self._namespace, self._folder)
        except CapiLlmError as error:
            self._fail(member, error)
        else:
            self._end(member, ready())
        self._informers.wakeup.ring()

    def _fail(self, member: Member, error: CapiLlmError) -> None:
        if isinstance(error, Interrupted):
            raise error
        member.error = error
        self._end(member, failed(error.brief))

    def _end(self, member: Member, status: Status) -> None:
        member.seconds = time.monotonic() - self._started
        member.status = status
        self._locks.pop(member.name, contextlib.ExitStack()).close()
        self._tell()

    def _release_all(self, pool: ThreadPoolExecutor) -> None:
        pool.shutdown(wait=True, cancel_futures=True)
        for name in list(self._locks):
            self._locks.pop(name).close()

    def _tell(self) -> None:
        with self._told:
            self._on_change(self.members)

    def _clusters(self) -> list[Object]:
        return self._informers.of(CLUSTERS, self._namespace).items()

    def _objects(self, names: set[str]) -> tree.Objects:
        objects = tree.collect(self._informers, self._namespace)
        own = [obj for obj in objects.clusters if obj["metadata"]["name"] in names]
        return replace(objects, clusters=own)

    def _catch_up(self) -> None:
        """Have what was just written be seen, as :func:`~capi_llm.clusters.create.wait_ready` does."""
        if self._newest is not None:
            self._informers.of(CLUSTERS, self._namespace).wait_seen(self._newest, _SEEN)
        if any(member.action == "unchanged" for member in self.members):
            newest: Object | None = None
            for obj in self._informers.api.list(MACHINE_DEPLOYMENTS, self._namespace):
                newest = obj if deleting(obj) else _newer(newest, obj)
            if newest is not None:
                self._informers.of(MACHINE_DEPLOYMENTS, self._namespace).wait_seen(newest, _SEEN)


def _newer(one: Object | None, other: Object) -> Object:
    if one is None:
        return other
    return max(one, other, key=lambda obj: int(obj["metadata"]["resourceVersion"]))


def _late(member: Member, timeout: float) -> TimedOut:
    why = f"{member.status.message}; {member.status.cause}" if member.status.cause else member.status.message
    return TimedOut(f"cluster {member.name!r} is not ready after {timeout:.0f} s", why=why)


def _results(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result()


def failure(members: Sequence[Member]) -> CapiLlmError | None:
    """One error for all that failed, naming each; TimedOut where all they lack is time. None: all is well."""
    wrong = [(member, member.error) for member in members if member.error is not None]
    if not wrong:
        return None
    what = f"{len(wrong)} of {len(members)} clusters are not ready"
    why = "".join(f"\n    {member.name}: {error.brief}" for member, error in wrong)
    fixes = list(dict.fromkeys(error.fix for _, error in wrong if error.fix))
    fix = "\n            ".join(
        [*fixes[:5], "then run the same command again: it leaves alone what is ready"]
        if fixes
        else ["run the same command again: it leaves alone what is ready and goes on with the others"]
    )
    late = all(isinstance(error, TimedOut) for _, error in wrong)
    return (TimedOut if late else CapiLlmError)(what, why=why, fix=fix)
