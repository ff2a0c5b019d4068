"""Whether the clusters of a sandbox have come to rest, and what they need to get there."""

from __future__ import annotations

import base64
import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from capi_llm.clusters import tree
from capi_llm.clusters.topology import scaled_range
from capi_llm.contract import capi
from capi_llm.contract.conditions import conditions, deleting, observed, status_of
from capi_llm.errors import Conflict
from capi_llm.kube.cache import Informers
from capi_llm.kube.resources import (
    CLUSTER_CLASSES,
    CLUSTERS,
    MACHINE_DEPLOYMENTS,
    MACHINE_SETS,
    MACHINES,
    SECRETS,
    Object,
    Resource,
)
from capi_llm.rehearsal.live import pool_key
from capi_llm.rehearsal.world import Key, PoolKey
from capi_llm.waiting import Status, pending, ready

CONFIGS = Resource("bootstrap.cluster.x-k8s.io", "v1beta1", "kubeadmconfigs", "KubeadmConfig")

STABLE_SECONDS = 1.0
"""Rest that lasts shorter is none: one controller has ended and the next has not begun."""

REFUSED_SECONDS = 5.0
"""How long a topology has to fail until it has failed for good: conflicts pass by themselves."""

_PASSING = re.compile(
    r"failed calling webhook|deadline exceeded|connection refused|please apply your changes"
    r"|timed out|time allotted|connection reset|connection lost|i/o timeout|too many requests"
    r"|unable to handle|: EOF\b"
)
"""What a topology fails with while the sandbox is too busy to answer."""


@dataclass
class Settling:
    """Looks at clusters again and again; one for each wait.

    ``replicas`` are given to pools once each is there, and pools outside of their range are brought
    into it, as an autoscaler would: ``scaled`` says from and to. ``failures`` are the clusters
    given up, with what their topology said.
    """

    informers: Informers
    clusters: frozenset[Key]
    replicas: Mapping[PoolKey, int] = field(default_factory=dict)
    failures: dict[Key, str] = field(default_factory=dict)
    scaled: dict[PoolKey, tuple[int, int]] = field(default_factory=dict)
    waiting_for: dict[Key, str] = field(default_factory=dict)
    _failing: dict[Key, float] = field(default_factory=dict)
    _given: set[Any] = field(default_factory=set)
    _since: float | None = None

    def probe(self) -> Status:
        """READY when all clusters that were not given up have been at rest for a while."""
        self._give_secrets()
        self._give_replicas()
        status = self._look()
        now = time.monotonic()
        if not status.ready:
            self._since = None
            return status
        self._since = now if self._since is None else self._since
        return status if now - self._since >= STABLE_SECONDS else pending("coming to rest")

    def give_up(self, why: str) -> None:
        """Take every cluster for not settled: what is known of them is too old to say more."""
        self.waiting_for = {key: why for key in sorted(self.clusters) if key not in self.failures}

    def _look(self) -> Status:
        objects = tree.collect(self.informers, None)
        self.waiting_for = {}
        for key in sorted(self.clusters):
            if key in self.failures:
                continue
            view = tree.find(objects, key.name, key.namespace)
            cluster = self.informers.of(CLUSTERS).find(key.name, key.namespace)
            if view is None or cluster is None:
                self.waiting_for[key] = "is not seen yet"
                continue
            why = self._topology_fails(key, cluster)
            if why is None:
                why = next(self._moving(key), "") if view.status.ready else view.status.message
            if why:
                self.waiting_for[key] = why
        if not self.waiting_for:
            return ready()
        key, message = next(iter(self.waiting_for.items()))
        return pending(f"{key.namespace}/{key.name}: {message}")

    def _topology_fails(self, key: Key, cluster: Object) -> str | None:
        """What a failing topology says while it may still recover, "" when it was given up, else None."""
        condition = conditions(cluster).get("TopologyReconciled")
        if condition is None or condition.true or condition.stale:
            self._failing.pop(key, None)
            return None
        if not condition.reason.endswith("ReconcileFailed"):
            self._failing.pop(key, None)
            return None
        now = time.monotonic()
        since = self._failing.setdefault(key, now)
        if now - since < REFUSED_SECONDS or _PASSING.search(condition.message):
            return f"topology: {condition.message}"
        self.failures[key] = condition.message
        return ""

    def _moving(self, key: Key) -> Iterator[str]:
        for obj in self.informers.of(MACHINES).items():
            if _belongs(obj, key) and deleting(obj):
                yield f"machine {obj['metadata']['name']} is being deleted"
        for obj in self.informers.of(MACHINE_SETS).items():
            if _belongs(obj, key) and (
                not observed(obj)
                or int(status_of(obj).get("replicas") or 0) != int(obj["spec"].get("replicas") or 0)
            ):
                yield f"MachineSet {obj['metadata']['name']} is at work"

    def _give_replicas(self) -> None:
        for obj in self.informers.of(MACHINE_DEPLOYMENTS).items():
            pool, now = pool_key(obj), obj["spec"].get("replicas")
            wanted = now
            to_give = pool in self.replicas and pool not in self._given
            if to_give:
                wanted = self.replicas[pool]
            span = scaled_range(obj["metadata"].get("annotations") or {})
            if span is not None and wanted is not None and not span[0] <= wanted <= span[1]:
                bound = min(max(wanted, span[0]), span[1])
                self.scaled[pool] = (wanted, bound)
                wanted = bound
            if wanted is not None and wanted != now:
                api = self.informers.api
                done = api.merge_patch(MACHINE_DEPLOYMENTS.ref(obj), {"spec": {"replicas": wanted}})
                self.informers.of(MACHINE_DEPLOYMENTS).wait_seen(done, 60)
            if to_give:
                self._given.add(pool)

    def _give_secrets(self) -> None:
        """Kubeadm configurations may take files from Secrets; those are not read, so they get stand-ins."""
        wanted: dict[tuple[str, str], set[str]] = {}
        for obj in self.informers.of(CONFIGS).items():
            for name, key in _secrets(obj):
                wanted.setdefault((obj["metadata"]["namespace"], name), set()).add(key)
        for (namespace, name), keys in wanted.items():
            if (namespace, name) in self._given:
                continue
            data = {key: base64.b64encode(b"simulated").decode() for key in sorted(keys)}
            with contextlib.suppress(Conflict):  # it is there
                self.informers.api.create(
                    SECRETS, {"metadata": {"name": name, "namespace": namespace}, "data": data}
                )
            self._given.add((namespace, name))


def classes_seen(informers: Informers, keys: Iterable[Key]) -> Status:
    """Whether Cluster API has looked at the newest version of these ClusterClasses; good or not."""
    for key in keys:
        obj = informers.of(CLUSTER_CLASSES).find(key.name, key.namespace)
        if obj is None or not observed(obj) or "observedGeneration" not in status_of(obj):
            return pending(f"{key} is not seen yet")
    return ready()


def paused_seen(informers: Informers, keys: Iterable[Key]) -> Status:
    """Whether the topology controller knows that these clusters are paused."""
    for key in keys:
        obj = informers.of(CLUSTERS).find(key.name, key.namespace)
        condition = conditions(obj).get("TopologyReconciled") if obj else None
        if (
            obj is None
            or not capi.paused(obj)
            or condition is None
            or not condition.reason.endswith("Paused")
        ):
            return pending(f"{key} is not paused yet")
    return ready()


def _belongs(obj: Object, key: Key) -> bool:
    return (obj["metadata"].get("namespace"), obj["spec"].get("clusterName")) == (key.namespace, key.name)


def _secrets(config: Object) -> Iterator[tuple[str, str]]:
    spec = config.get("spec") or {}
    sources = [item.get("contentFrom") for item in spec.get("files") or []]
    sources += [item.get("passwdFrom") for item in spec.get("users") or []]
    for source in sources:
        secret = (source or {}).get("secret") or {}
        if secret.get("name"):
            yield str(secret["name"]), str(secret.get("key") or "value")
