"""What became of each machine, and in which order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from capi_llm.contract import capi
from capi_llm.contract.conditions import deleting
from capi_llm.kube.informer import Informer
from capi_llm.kube.resources import Object
from capi_llm.kube.store import Change
from capi_llm.rehearsal.live import oldest_first, pool_key
from capi_llm.rehearsal.world import PoolKey

Happening = Literal["created", "ready", "deleting", "deleted"]
Fate = Literal["left", "changed in place", "replaced", "deleted", "created"]

FATES: tuple[Fate, ...] = ("created", "replaced", "deleted", "changed in place", "left")

_KEPT = (
    "nodeDrainTimeout",
    "nodeVolumeDetachTimeout",
    "nodeDeletionTimeout",
    "readinessGates",
    "failureDomain",
)
_SAID_BY_CONTROLLERS = (
    "machine-template-hash",
    "controlplane.cluster.x-k8s.io/",
    "machinedeployment.clusters.x-k8s.io/",
    "cluster.x-k8s.io/set-name",
    "pre-terminate.delete.hook",
)


@dataclass(frozen=True)
class Event:
    """Something that happened to a machine, ``at`` seconds after the change was applied."""

    at: float
    happening: Happening
    machine: str
    pool: PoolKey


@dataclass(frozen=True)
class MachineFate:
    """A machine and what became of it.

    ``name`` is the live machine's where there is one, else the simulated one's; ``by`` is the simulated
    name of what replaced it. ``came`` and ``went`` are steps of the whole order, 0 for none: when it,
    or what replaces it, was made, and when its own removal began.
    """

    pool: PoolKey
    name: str
    simulated: str
    fate: Fate
    came: int = 0
    went: int = 0
    by: str = ""
    changed: tuple[str, ...] = ()


class Recorder:
    """Writes down what happens to machines from :meth:`start` on. Thread-safe."""

    def __init__(self, informer: Informer) -> None:
        self._lock = threading.Lock()
        self._seen: set[tuple[str, Happening]] = set()
        self._events: list[Event] = []
        self._started: float | None = None
        informer.add_listener(self._on)

    def start(self, there: Iterable[Object]) -> None:
        """Begin; ``there`` are the machines that exist already."""
        with self._lock:
            self._seen = {(obj["metadata"]["uid"], word) for obj in there for word in ("created", "ready")}
            self._events = []
            self._started = time.monotonic()

    def events(self) -> tuple[Event, ...]:
        """All so far, in order."""
        with self._lock:
            return tuple(self._events)

    def _on(self, change: Change, obj: Object) -> None:
        with self._lock:
            if self._started is None:
                return
            self._note("created", obj)
            if capi.machine(obj).ready:
                self._note("ready", obj)
            if deleting(obj) or change == "DELETED":
                self._note("deleting", obj)
            if change == "DELETED":
                self._note("deleted", obj)

    def _note(self, happening: Happening, obj: Object) -> None:
        mark = (obj["metadata"]["uid"], happening)
        if mark not in self._seen and self._started is not None:
            self._seen.add(mark)
            at = time.monotonic() - self._started
            self._events.append(Event(at, happening, obj["metadata"]["name"], pool_key(obj)))


def fates(
    before: Sequence[Object],
    after: Sequence[Object],
    events: Sequence[Event],
    live: Mapping[PoolKey, Sequence[str]],
) -> tuple[MachineFate, ...]:
    """What became of every machine of ``before``, and what is new in ``after``.

    Within a pool the machine that goes first counts as replaced by the one that came first.
    """
    made, removed = steps(events, "created"), steps(events, "deleting")
    names = _live_names(before, live)
    old, new = _by_pool(before), _by_pool(after)
    found: list[MachineFate] = []
    for pool in sorted(old.keys() | new.keys()):
        was = {obj["metadata"]["name"]: obj for obj in oldest_first(old.get(pool, ()))}
        now = {obj["metadata"]["name"]: obj for obj in oldest_first(new.get(pool, ()))}
        came = sorted(now.keys() - was.keys(), key=lambda name: made.get(name, 0))
        gone = sorted(was.keys() - now.keys(), key=lambda name: removed.get(name, 0))
        heirs = dict(zip(gone, came, strict=False))
        for name, obj in was.items():
            if name in now:
                changed = tuple(_changes(obj, now[name]))
                fate: Fate = "changed in place" if changed else "left"
                found.append(MachineFate(pool, names[name], name, fate, changed=changed))
            else:
                heir = heirs.get(name, "")
                fate = "replaced" if heir else "deleted"
                found.append(
                    MachineFate(
                        pool, names[name], name, fate, made.get(heir, 0), removed.get(name, 0), by=heir
                    )
                )
        found += [
            MachineFate(pool, name, name, "created", made.get(name, 0))
            for name in came
            if name not in heirs.values()
        ]
    return tuple(found)


def steps(events: Sequence[Event], happening: Happening) -> dict[str, int]:
    """Machine → the step at which ``happening`` came; machines made and removals begun are counted."""
    counted = [event for event in events if event.happening in ("created", "deleting")]
    return {event.machine: step for step, event in enumerate(counted, 1) if event.happening == happening}


def passing(before: Sequence[Object], after: Sequence[Object], events: Sequence[Event]) -> dict[str, PoolKey]:
    """Machines that came and went again, with their pool: the change rolled more than once."""
    known = {obj["metadata"]["name"] for obj in (*before, *after)}
    return {event.machine: event.pool for event in events if event.machine not in known}


def _live_names(before: Sequence[Object], live: Mapping[PoolKey, Sequence[str]]) -> dict[str, str]:
    """Simulated → live: the n-th oldest of a pool stands for the n-th oldest."""
    names = {}
    for pool, machines in _by_pool(before).items():
        real = list(live.get(pool, ()))
        for number, obj in enumerate(oldest_first(machines)):
            own = obj["metadata"]["name"]
            names[own] = real[number] if number < len(real) else own
    return names


def _changes(old: Object, new: Object) -> Iterable[str]:
    """``labels.team: a → b`` for what a user may have said of a machine."""
    for part in ("labels", "annotations"):
        was, now = (_said((obj["metadata"].get(part)) or {}) for obj in (old, new))
        for key in sorted(was.keys() | now.keys()):
            if was.get(key) != now.get(key):
                yield f"{part}.{key}: {was.get(key, 'none')} → {now.get(key, 'none')}"
    for word in _KEPT:
        one, other = old["spec"].get(word), new["spec"].get(word)
        if one != other:
            yield f"{word}: {'none' if one is None else one} → {'none' if other is None else other}"


def _said(words: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value for key, value in words.items() if not any(part in key for part in _SAID_BY_CONTROLLERS)
    }


def _by_pool(machines: Iterable[Object]) -> dict[PoolKey, list[Object]]:
    found: dict[PoolKey, list[Object]] = {}
    for obj in machines:
        found.setdefault(pool_key(obj), []).append(obj)
    return found
