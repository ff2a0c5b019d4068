"""The course of one rehearsal on a sandbox that is ready: before, change, after."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from capi_llm.clusters.topology import class_of
from capi_llm.contract.conditions import deleting
from capi_llm.errors import ApiError, CapiLlmError, Invalid, TimedOut, Unavailable
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import (
    CLUSTER_CLASSES,
    CLUSTERS,
    KUBEADM_CONTROL_PLANES,
    MACHINE_DEPLOYMENTS,
    MACHINE_SETS,
    MACHINES,
    Object,
    Ref,
)
from capi_llm.rehearsal import live, reasons, timeline
from capi_llm.rehearsal import stage as stages
from capi_llm.rehearsal import world as worlds
from capi_llm.rehearsal.findings import Finding
from capi_llm.rehearsal.mapping import Mapped, Mapping
from capi_llm.rehearsal.results import ClusterResult, Outcome
from capi_llm.rehearsal.settling import Settling, classes_seen, paused_seen
from capi_llm.rehearsal.world import Key, PoolKey, World
from capi_llm.waiting import Status, Waiter, until

_LOOKS = 0.2
_SEEN = 60.0
"""Seconds until a watch has to have shown what was just written, on a machine that does much else."""

_BARRED = ("kind-changed", "template-changed")
"""Findings on objects that the real API server would refuse and the sandbox's would not."""


class Course:
    """Runs once: :meth:`results`. ``findings`` are those given, and those that come up."""

    def __init__(
        self,
        informers: Informers,
        mapping: Mapping,
        was: Mapped,
        will: Mapped,
        before: World,
        after: World,
        timeout: float,
        say: Callable[[str], None],
        tell: Callable[[str], None],
        findings: Sequence[Finding],
    ) -> None:
        self._informers, self._mapping = informers, mapping
        self._was, self._will, self._before, self._after = was, will, before, after
        self._deadline = time.monotonic() + timeout
        self._say, self._hear = say, tell
        self._discovery = Discovery(informers.api)
        self._recorder = timeline.Recorder(informers.of(MACHINES))
        self._outcomes: dict[Key, tuple[Outcome, str]] = {}
        self.findings = list(findings)

    @property
    def _api(self) -> Api:
        return self._informers.api

    def results(self) -> tuple[tuple[ClusterResult, ...], tuple[timeline.Event, ...]]:
        stages.have_namespaces(self._api, self._was.namespaces() | self._will.namespaces())
        there = self._bring_before()
        machines = self._api.list(MACHINES)
        rendered = {key: reasons.rendered(self._informers, key) for key in there}
        self._recorder.start(machines)
        self._apply_change(there)
        now = [obj for obj in self._api.list(MACHINES) if not deleting(obj)]
        events = self._recorder.events()
        fates = timeline.fates(machines, now, events, self._before.machines)
        passing = timeline.passing(machines, now, events)
        found = []
        for cluster in self._after.clusters:
            key = worlds.key_of(cluster)
            own = tuple(fate for fate in fates if _of(fate.pool, key))
            old, new = rendered.get(key, reasons.Rendered()), reasons.rendered(self._informers, key)
            self._find_empty(key, old, new)
            why = reasons.reasons(old, new)
            infrastructure = (
                tuple(reasons.differences(old.infrastructure, new.infrastructure)) if key in rendered else ()
            )
            outcome, message = self._outcome(key)
            gone = tuple(name for name, pool in passing.items() if _of(pool, key))
            result = ClusterResult(
                key, class_of(cluster), self._versions(key), outcome, message, own, why, infrastructure, gone
            )
            self.findings += _rolls_all(result, machines, self._reason(key))
            found.append(result)
        return tuple(found), events

    def _outcome(self, key: Key) -> tuple[Outcome, str]:
        if key not in self._will.objects:
            return "not rehearsed", next(
                (finding.why for finding in self.findings if finding.on == str(key)), ""
            )
        return self._outcomes.get(key, ("rehearsed", ""))

    def _versions(self, key: Key) -> tuple[str, str]:
        old, new = self._before.objects.get(key), self._after.objects[key]
        return worlds.version_of(old) if old else "", worlds.version_of(new)

    def _reason(self, key: Key) -> str:
        """What of the change reaches a cluster: itself, or else its class."""
        if self._before.objects.get(key) != self._after.objects[key]:
            return str(key)
        return str(worlds.class_key(self._after.objects[key]))

    def _find_empty(self, key: Key, old: reasons.Rendered, new: reasons.Rendered) -> None:
        places = set(reasons.empty(new)) - set(reasons.empty(old))
        if places:
            self.findings.append(
                Finding(
                    "error", "no-value", str(worlds.class_key(self._after.objects[key])),
                    f"a patch renders {reasons.NO_VALUE} for cluster {key.namespace}/{key.name}",
                    f"its template uses a variable that is not there, at {', '.join(sorted(places))}",
                    "define the variable in the class, or correct its name in the patch",
                )
            )  # fmt: skip

    # ------------------------------------------------------------------ before

    def _bring_before(self) -> list[Key]:
        """Make what is there before; returns the clusters that came to rest."""
        clusters: list[Key] = []
        for key, obj in self._was.objects.items():
            if key.kind == CLUSTERS.kind and not clusters:
                self._wait_classes(self._was)
            try:
                self._api.create(self._discovery.resource_for(obj), obj)
            except ApiError as error:
                if isinstance(error, Unavailable):
                    raise
                self._refuse(key, error, "is refused as it is now, before the change")
                continue
            if key.kind == CLUSTERS.kind:
                clusters.append(key)
        if not clusters:
            return []
        self._say(f"bringing up {_count(len(clusters), 'cluster')} as before the change")
        settling = Settling(self._informers, frozenset(clusters), self._before.replicas)
        self._settle(settling)
        for key, message in settling.failures.items():
            self._fail(key, "failed", "topology-failed", "can not be reconciled as it is now", message)
        for key, message in settling.waiting_for.items():
            self._fail(key, "not settled", "not-settled", "did not come to rest before the change", message)
        return [key for key in clusters if key not in self._outcomes]

    # ------------------------------------------------------------------ the change

    def _apply_change(self, there: Sequence[Key]) -> None:
        """Apply what differs, in one go for every cluster, and wait until all are at rest again."""
        self._pause(there, True)
        self._wait("clusters are paused", lambda: paused_seen(self._informers, there))
        new = []
        keys = [key for key, obj in self._will.objects.items() if self._was.objects.get(key) != obj]
        for key in keys:
            if key.kind == CLUSTERS.kind:
                continue
            self._change(key)
        self._wait_classes(self._will)
        for key in keys:
            if key.kind == CLUSTERS.kind and key not in self._outcomes and self._change(key):
                new.append(key)
        waits = frozenset(self._resume(there)) | {key for key in new if key not in self._was.objects}
        if not waits:
            return
        self._say(f"the change is applied; following {_count(len(waits), 'cluster')}")
        settling = Settling(self._informers, waits)
        self._settle(settling)
        self.findings += [
            Finding(
                "note", "scaled", f"Cluster {pool.namespace}/{pool.cluster}, pool {pool.pool}",
                f"goes from {old} to {new} machines",
                "they were outside of its range; an autoscaler, or capi-llm scale, brings them into it",
            )
            for pool, (old, new) in sorted(settling.scaled.items())
        ]  # fmt: skip
        for key, message in settling.failures.items():
            self._fail(key, "failed", "topology-failed", "the topology can not be reconciled", message)
        for key, message in settling.waiting_for.items():
            self._fail(key, "not settled", "not-settled", "did not come to rest", message)

    def _change(self, key: Key) -> bool:
        """Bring one object to what it is after the change; False where it was refused."""
        if any(item.on == str(key) and item.code in _BARRED for item in self.findings):
            if key.kind == CLUSTERS.kind:
                self._outcomes[key] = ("refused", "")
            return False
        obj, old = self._will.objects[key], self._was.objects.get(key)
        resource = self._discovery.resource_for(obj)
        try:
            if old is None or self._api.find(resource.ref(obj)) is None:
                self._api.create(resource, obj)
            else:
                self._api.merge_patch(resource.ref(obj), worlds.difference(old, obj))
        except ApiError as error:
            if isinstance(error, Unavailable):
                raise
            self._refuse(key, error, "the change is refused")
            return False
        return True

    def _resume(self, keys: Iterable[Key]) -> list[Key]:
        """Let the clusters go on; those that Cluster API lets."""
        going = []
        for key in keys:
            try:
                self._pause([key], False)
            except Invalid as error:
                # Their class has changed so that they are not valid any more, whatever is written to them.
                self._fail(key, "failed", "cluster-invalid", "is not valid with its changed class", error.why)
            else:
                going.append(key)
        return going

    def _pause(self, keys: Iterable[Key], paused: bool) -> None:
        for key in keys:
            done = self._api.merge_patch(Ref(CLUSTERS, key.name, key.namespace), {"spec": {"paused": paused}})
            self._informers.of(CLUSTERS).wait_seen(done, _SEEN)

    # ------------------------------------------------------------------ waiting and telling

    def _wait_classes(self, mapped: Mapped) -> None:
        names = {key for key in mapped.objects if key.kind == CLUSTER_CLASSES.kind}
        keys = [key for key in names if self._api.find(Ref(CLUSTER_CLASSES, key.name, key.namespace))]
        for key in keys:
            obj = self._api.get(Ref(CLUSTER_CLASSES, key.name, key.namespace))
            self._informers.of(CLUSTER_CLASSES).wait_seen(obj, _SEEN)
        self._wait("ClusterClasses are seen", lambda: classes_seen(self._informers, keys))

    def _wait(self, what: str, probe: Callable[[], Status]) -> None:
        until(probe, what=what, timeout=self._left(), waiter=self._waiter())

    def _settle(self, settling: Settling) -> None:
        """Wait until all clusters are at rest or given up; what is not at the deadline is in it."""
        with contextlib.suppress(TimedOut):
            until(settling.probe, what="the clusters", timeout=self._left(), waiter=self._waiter())
        if settling.waiting_for:
            return
        # The informers may be a moment behind what was just written.
        try:
            for resource in (CLUSTERS, KUBEADM_CONTROL_PLANES, MACHINE_DEPLOYMENTS, MACHINE_SETS, MACHINES):
                for obj in self._api.list(resource):
                    self._informers.of(resource).wait_seen(obj, _SEEN)
        except TimedOut as error:
            settling.give_up(error.brief)
            return
        with contextlib.suppress(TimedOut):
            until(settling.probe, what="the clusters", timeout=self._left(), waiter=self._waiter())

    def _waiter(self) -> Waiter:
        return Waiter(wakeup=self._informers.wakeup, interval=_LOOKS, report=self._tell)

    def _tell(self, status: Status) -> None:
        if status.message:
            self._hear(self._mapping.back(status.message))

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _refuse(self, key: Key, error: CapiLlmError, what: str) -> None:
        why = self._mapping.back(error.why or error.what)
        if key.kind == CLUSTERS.kind:
            self._outcomes[key] = ("refused", why)
        known = [item for item in self.findings if item.on == str(key) and item.code == "version-skew"]
        if known:
            place = self.findings.index(known[0])
            self.findings[place] = replace(known[0], why=f"{known[0].why}; Cluster API says: {why}")
            return
        self.findings.append(
            Finding("error", "refused", str(key), what, why, "correct it; nothing real was touched")
        )

    def _fail(self, key: Key, outcome: Outcome, code: str, what: str, message: str) -> None:
        why = self._mapping.back(message)
        self._outcomes[key] = (outcome, why)
        self.findings.append(Finding("error", code, str(key), what, why))


def _rolls_all(result: ClusterResult, before: Sequence[Object], on: str) -> list[Finding]:
    own = [obj for obj in before if _of(live.pool_key(obj), result.key)]
    if not own or result.count("replaced") < len(own):
        return []
    why = "; ".join(dict.fromkeys(text for texts in result.why.values() for text in texts))
    cluster = f"{result.key.namespace}/{result.key.name}"
    return [
        Finding(
            "warning", "rolls-every-machine", on,
            f"the change replaces every machine of cluster {cluster}: {len(own)}", why,
            "take that part of the change back, or make time for the rollout: each machine is drained first",
        )
    ]  # fmt: skip


def _of(pool: PoolKey, key: Key) -> bool:
    return (pool.namespace, pool.cluster) == (key.namespace, key.name)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
