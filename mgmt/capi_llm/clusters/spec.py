"""What a cluster should be: said by flags and a file, completed by defaults, checked.

::

    from_flags(...) ─┐
    specfile.load  ──┼─ merge ─► ClusterSpec ─► topology.manifest
    settings.cluster ┘

A :class:`Given` holds only what the user said; a :class:`ClusterSpec` holds everything and
remembers in ``given`` which of it was said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from capi_llm import fields, versions
from capi_llm.clusters.given import Given as Given
from capi_llm.clusters.given import PoolGiven as PoolGiven
from capi_llm.clusters.given import from_flags as from_flags
from capi_llm.clusters.given import no_duplicates as no_duplicates
from capi_llm.clusters.given import parse_pool as parse_pool
from capi_llm.errors import BadInput
from capi_llm.fields import HostNetwork
from capi_llm.fields import Range as Range
from capi_llm.fields.quantities import DEFAULT_WORKERS
from capi_llm.settings.words import (
    DEFAULT_CONTROL_PLANE,
    DEFAULT_CPU,
    DEFAULT_MEMORY,
    DEFAULT_NAMESPACE,
    DEFAULT_PODS,
    DEFAULT_SERVICES,
)
from capi_llm.settings.words import DEFAULT_DOMAIN as DEFAULT_DOMAIN

parse_workers = fields.workers

FIRST_POOL = "md-0"
"""The pool that every cluster has and that ``--workers`` is about."""

DEFAULT_WORKER = "default-worker"

SUFFIX = 18
"""Characters that Cluster API adds to ``CLUSTER-POOL`` in a machine's name: three times ``-xxxxx``."""


@dataclass(frozen=True)
class Pool:
    """A pool of workers. ``fixed`` means a replica count (minimum == maximum) and no autoscaler.

    ``cpu`` and ``memory`` are what the autoscaler takes one machine to have; empty where the
    Cluster does not say.
    """

    name: str
    minimum: int
    maximum: int
    worker_class: str = DEFAULT_WORKER
    cpu: str = DEFAULT_CPU
    memory: str = DEFAULT_MEMORY
    fixed: bool = False

    @property
    def range(self) -> Range:
        return Range(self.minimum, self.maximum, self.fixed)


@dataclass(frozen=True)
class ClusterSpec:
    """A whole cluster. ``labels`` and ``variables`` are only those that were said.

    ``cluster_class`` is ``NAME`` in the cluster's own namespace or ``NAMESPACE/NAME``.
    ``given`` names the fields of :class:`Given` that the user said, of pools also ``pools.NAME``
    and ``pools.NAME.WORD``. ``defaulted`` names the labels and variables (``labels.KEY``,
    ``variables.NAME``) that settings added. ``places`` is where fields were said. These three do
    not take part in comparisons of two specs.
    """

    name: str
    namespace: str = DEFAULT_NAMESPACE
    cluster_class: str = ""
    version: str = versions.WORKLOAD_KUBERNETES
    pods: str = DEFAULT_PODS
    services: str = DEFAULT_SERVICES
    service_domain: str = DEFAULT_DOMAIN
    control_plane: int = DEFAULT_CONTROL_PLANE
    pools: tuple[Pool, ...] = (Pool(FIRST_POOL, 1, 3),)
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[str] = field(default=frozenset(), compare=False)
    defaulted: frozenset[str] = field(default=frozenset(), compare=False)
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def pool(self, name: str) -> Pool | None:
        return next((pool for pool in self.pools if pool.name == name), None)


def merge(
    file: Given | None,
    flags: Given,
    *,
    default_class: str,
    class_namespace: str = "",
    defaults: Given | None = None,
) -> ClusterSpec:
    """Flags over file over ``defaults`` (of settings) over built-in ones. Maps and pools are merged by name.

    What only ``defaults`` say holds for new clusters and is not compared with one that is there.
    ``class_namespace`` is where the default class is; empty where it is in the cluster's.
    Raises BadInput where nothing names the cluster, or values do not fit each other.
    """
    file, defaults = file or Given(), defaults or Given()
    if flags.name and file.name and flags.name != file.name:
        raise BadInput(
            "the command names one cluster and the file another",
            why=f"{flags.name!r} and {file.name!r}",
            fix="leave one of them out",
        )
    said = _said(file, flags)
    if "name" not in said:
        raise BadInput("the cluster has no name", fix="capi-llm new-cluster NAME, or `name:` in the file")
    whole = _under(defaults, said)
    plain = {
        word: value for word, value in whole.items() if word not in ("workers", "cpu", "memory", "pools")
    }
    if class_namespace and whole.get("namespace", class_namespace) != class_namespace:
        default_class = f"{class_namespace}/{default_class}"
    spec = ClusterSpec(**({"cluster_class": default_class} | plain))
    maps = {"labels": spec.labels, "variables": spec.variables}
    added = {
        f"{word}.{key}" for word, items in maps.items() for key in items if key not in said.get(word, ())
    }
    places = {
        word: source.places.get(word, word)
        for word in ("pods", "services")
        for source in (defaults, file, flags)
        if getattr(source, word) is not None
    }
    return check(
        replace(spec, pools=_pools(whole), given=_given(said), defaulted=frozenset(added), places=places)
    )


def _said(file: Given, flags: Given) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for word in Given.__dataclass_fields__:
        value = getattr(flags, word)
        said[word] = getattr(file, word) if value is None else value
    del said["places"]
    said["pools"] = _merge_pools(file.pools, flags.pools)
    said["labels"] = {**file.labels, **flags.labels}
    said["variables"] = _merge_variables(file.variables, flags.variables)
    return {word: value for word, value in said.items() if value not in (None, (), {})}


def _under(defaults: Given, said: Mapping[str, Any]) -> dict[str, Any]:
    """``said`` with what ``defaults`` have besides."""
    whole = {
        word: value
        for word in Given.__dataclass_fields__
        if word not in ("name", "pools", "places") and (value := getattr(defaults, word)) not in (None, {})
    }
    if any(pool.name == FIRST_POOL for pool in said.get("pools", ())):
        whole.pop("workers", None)
    whole |= said
    for word, merged in (
        ("labels", {**defaults.labels, **said.get("labels", {})}),
        ("variables", _merge_variables(defaults.variables, said.get("variables", {}))),
    ):
        if merged:
            whole[word] = merged
    return whole


def keep_apart(spec: ClusterSpec, hosts: Iterable[HostNetwork]) -> None:
    """Raise BadInput where a network that somebody said overlaps with one of ``hosts``.

    One that nobody said is left alone: the clusters of a sandbox have no real network.
    """
    hosts = tuple(hosts)
    if spec.places.get("pods"):
        fields.apart(spec.pods, spec.places["pods"], hosts, pod=True, beside=spec.services)
    if spec.places.get("services"):
        fields.apart(spec.services, spec.places["services"], hosts, pod=False, beside=spec.pods)


def check(spec: ClusterSpec) -> ClusterSpec:
    """``spec``, if its values fit each other. Raises BadInput."""
    fields.networks(
        spec.pods,
        spec.services,
        pods_at=spec.places.get("pods", "--pods"),
        services_at=spec.places.get("services", "--services"),
    )
    for pool in spec.pools:
        longest = 63 - SUFFIX - 1 - len(pool.name)
        if longest < 1:
            raise BadInput(
                f"--pool: {pool.name!r} is too long",
                why="machines are called CLUSTER-POOL-xxxxx-xxxxx-xxxxx, at most 63 characters",
                fix=f"use a short name, e.g. {pool.name[:10].rstrip('-')!r}",
            )
        if len(spec.name) > longest:
            raise BadInput(
                f"NAME: {spec.name!r} is too long",
                why=f"machines are called {spec.name}-{pool.name}-xxxxx-xxxxx-xxxxx, at most 63 characters",
                fix=f"use at most {longest} characters, e.g. {spec.name[:longest].rstrip('-')!r}",
            )
    if sum(pool.maximum for pool in spec.pools) > fields.MOST_MACHINES:
        raise BadInput(
            f"--workers and --pool: all pools together are more than {fields.MOST_MACHINES} machines",
            fix="make their maximums smaller",
        )
    return spec


def _given(said: Mapping[str, Any]) -> frozenset[str]:
    """The words that were said; of pools also ``pools.NAME`` and ``pools.NAME.WORD``."""
    words = set(said)
    for pool in said.get("pools", ()):
        words.add(f"pools.{pool.name}")
        for word, value in (("class", pool.worker_class), ("cpu", pool.cpu), ("memory", pool.memory)):
            if value:
                words.add(f"pools.{pool.name}.{word}")
    return frozenset(words)


def _pools(said: Mapping[str, Any]) -> tuple[Pool, ...]:
    pools: dict[str, PoolGiven] = {pool.name: pool for pool in said.get("pools", ())}
    workers: Range | None = said.get("workers")
    first = pools.pop(FIRST_POOL, None)
    if first and workers and first.range != workers:
        raise BadInput(
            f"--workers and --pool {FIRST_POOL} contradict each other",
            why=f"{workers} and {first.range}",
            fix="leave one of them out",
        )
    first = first or PoolGiven(FIRST_POOL, workers or fields.workers(DEFAULT_WORKERS))
    return tuple(
        Pool(
            pool.name,
            pool.range.minimum,
            pool.range.maximum,
            pool.worker_class or DEFAULT_WORKER,
            pool.cpu or said.get("cpu") or DEFAULT_CPU,
            pool.memory or said.get("memory") or DEFAULT_MEMORY,
            pool.range.fixed,
        )
        for pool in (first, *pools.values())
    )


def _merge_pools(file: tuple[PoolGiven, ...], flags: tuple[PoolGiven, ...]) -> tuple[PoolGiven, ...]:
    merged = {pool.name: pool for pool in file}
    for pool in flags:
        old = merged.get(pool.name)
        merged[pool.name] = (
            replace(old, range=pool.range, worker_class=pool.worker_class or old.worker_class)
            if old
            else pool
        )
    return tuple(merged.values())


def _merge_variables(file: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(file)
    for name, value in flags.items():
        old = merged.get(name)
        merged[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
