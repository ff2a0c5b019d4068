"""What a cluster should be: said by flags and a file, completed by defaults, checked.

::

    from_flags(...) ─┐
                     ├─ merge ─► ClusterSpec ─► topology.manifest
    specfile.load  ──┘

A :class:`Given` holds only what the user said; a :class:`ClusterSpec` holds everything and
remembers in ``given`` which of it was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from capi_llm import versions
from capi_llm.clusters import fields
from capi_llm.errors import BadInput

FIRST_POOL = "md-0"
"""The pool that every cluster has and that ``--workers`` is about."""

DEFAULT_WORKER = "default-worker"
DEFAULT_WORKERS = "1..3"
DEFAULT_PODS = "192.168.0.0/16"
DEFAULT_SERVICES = "10.96.0.0/24"
DEFAULT_DOMAIN = "cluster.local"
DEFAULT_CPU = "2"
DEFAULT_MEMORY = "4Gi"

SUFFIX = 18
"""Characters that Cluster API adds to ``CLUSTER-POOL`` in a machine's name: three times ``-xxxxx``."""


class Range(NamedTuple):
    """How many machines: ``minimum`` to ``maximum`` for an autoscaler, or ``fixed``."""

    minimum: int
    maximum: int
    fixed: bool = False

    def __str__(self) -> str:
        return str(self.minimum) if self.fixed else f"{self.minimum}..{self.maximum}"


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
class PoolGiven:
    """A pool as the user said it; empty fields were not said."""

    name: str
    range: Range
    worker_class: str = ""
    cpu: str = ""
    memory: str = ""


@dataclass(frozen=True)
class Given:
    """What a user said, by flags or in a file, each value checked by itself. None: not said."""

    name: str | None = None
    namespace: str | None = None
    cluster_class: str | None = None
    version: str | None = None
    pods: str | None = None
    services: str | None = None
    service_domain: str | None = None
    control_plane: int | None = None
    workers: Range | None = None
    cpu: str | None = None
    memory: str | None = None
    pools: tuple[PoolGiven, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterSpec:
    """A whole cluster. ``labels`` and ``variables`` are only those that were said.

    ``cluster_class`` is ``NAME`` in the cluster's own namespace or ``NAMESPACE/NAME``.
    ``given`` names the fields of :class:`Given` that the user said, of pools also ``pools.NAME``
    and ``pools.NAME.WORD``; it does not take part in comparisons of two specs.
    """

    name: str
    namespace: str = "default"
    cluster_class: str = ""
    version: str = versions.WORKLOAD_KUBERNETES
    pods: str = DEFAULT_PODS
    services: str = DEFAULT_SERVICES
    service_domain: str = DEFAULT_DOMAIN
    control_plane: int = 1
    pools: tuple[Pool, ...] = (Pool(FIRST_POOL, 1, 3),)
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def pool(self, name: str) -> Pool | None:
        return next((pool for pool in self.pools if pool.name == name), None)


def parse_workers(text: str, where: str = "--workers") -> Range:
    """``1..3`` (an autoscaler's range) or ``2`` (fixed). Raises BadInput."""
    match = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", text.strip())
    if match is None:
        numbers = re.findall(r"\d+", text)
        close = "..".join(numbers) if 1 <= len(numbers) <= 2 else DEFAULT_WORKERS
        raise BadInput(
            f"{where}: {text!r} is not a number of machines", why="it is MIN..MAX or N", fix=f"use {close}"
        )
    low = int(match[1])
    high = int(match[2]) if match[2] else low
    if low > high:
        raise BadInput(f"{where}: {text} has its minimum above its maximum", fix=f"use {high}..{low}")
    if high > fields.MOST_MACHINES:
        raise BadInput(f"{where}: {text} is more than the {fields.MOST_MACHINES} machines a cluster can have")
    if high == 0 and match[2]:
        raise BadInput(f"{where}: {text} leaves nothing to scale", fix="use 0 or 0..1")
    return Range(low, high, fixed=not match[2])


def parse_pool(text: str, where: str = "--pool") -> PoolGiven:
    """``NAME=MIN..MAX[:CLASS]``, e.g. ``gpu=0..2:gpu-worker``. Raises BadInput."""
    name, equals, rest = text.partition("=")
    if not equals:
        raise BadInput(
            f"{where}: {text!r} is not NAME=MIN..MAX[:CLASS]", fix=f"{where} {name}=0..2:gpu-worker"
        )
    span, colon, worker_class = rest.partition(":")
    fields.dns_label(name, where)
    if colon:
        fields.dns_label(worker_class, f"{where} {name}")
    return PoolGiven(name, parse_workers(span, f"{where} {name}"), worker_class)


def from_flags(
    *,
    name: str | None = None,
    namespace: str | None = None,
    cluster_class: str | None = None,
    version: str | None = None,
    pods: str | None = None,
    services: str | None = None,
    service_domain: str | None = None,
    control_plane: int | None = None,
    workers: str | None = None,
    cpu: str | None = None,
    memory: str | None = None,
    pools: Iterable[str] = (),
    labels: Iterable[str] = (),
    variables: Iterable[str] = (),
) -> Given:
    """The flags of ``new-cluster`` as they were typed. Raises BadInput that names the flag."""
    parsed = tuple(parse_pool(text) for text in pools)
    no_duplicates(parsed, "--pool")
    return Given(
        name=None if name is None else fields.dns_label(name, "NAME"),
        namespace=None if namespace is None else fields.dns_label(namespace, "--namespace"),
        cluster_class=None if cluster_class is None else fields.class_name(cluster_class, "--class"),
        version=None if version is None else fields.kubernetes_version(version, "--version"),
        pods=None if pods is None else fields.cidr(pods, "--pods"),
        services=None if services is None else fields.cidr(services, "--services"),
        service_domain=None
        if service_domain is None
        else fields.dns_subdomain(service_domain, "--service-domain"),
        control_plane=None
        if control_plane is None
        else fields.control_plane(control_plane, "--control-plane"),
        workers=None if workers is None else parse_workers(workers),
        cpu=None if cpu is None else fields.cpu(cpu, "--cpu"),
        memory=None if memory is None else fields.memory(memory, "--memory"),
        pools=parsed,
        labels=dict(fields.label(*fields.key_value(text, "--label"), "--label") for text in labels),
        variables=fields.variables(variables),
    )


def no_duplicates(pools: Iterable[PoolGiven], where: str) -> None:
    """Raise BadInput where two pools have one name."""
    seen: set[str] = set()
    for pool in pools:
        if pool.name in seen:
            raise BadInput(f"{where}: pool {pool.name!r} is there twice")
        seen.add(pool.name)


def merge(file: Given | None, flags: Given, *, default_class: str, class_namespace: str = "") -> ClusterSpec:
    """Flags over file over defaults. Labels, variables and pools are merged by name.

    ``class_namespace`` is where the default class is; empty where it is in the cluster's.
    Raises BadInput where nothing names the cluster, or values do not fit each other.
    """
    file = file or Given()
    if flags.name and file.name and flags.name != file.name:
        raise BadInput(
            "the command names one cluster and the file another", why=f"{flags.name!r} and {file.name!r}"
        )
    said: dict[str, Any] = {}
    for word in Given.__dataclass_fields__:
        value = getattr(flags, word)
        said[word] = getattr(file, word) if value is None else value
    said["pools"] = _merge_pools(file.pools, flags.pools)
    said["labels"] = {**file.labels, **flags.labels}
    said["variables"] = _merge_variables(file.variables, flags.variables)
    said = {word: value for word, value in said.items() if value not in (None, (), {})}
    if "name" not in said:
        raise BadInput("the cluster has no name", fix="capi-llm new-cluster NAME, or `name:` in the file")
    plain = {word: value for word, value in said.items() if word not in ("workers", "cpu", "memory", "pools")}
    if class_namespace and said.get("namespace", class_namespace) != class_namespace:
        default_class = f"{class_namespace}/{default_class}"
    spec = ClusterSpec(**({"cluster_class": default_class} | plain))
    return check(replace(spec, pools=_pools(said), given=_given(said)))


def check(spec: ClusterSpec) -> ClusterSpec:
    """``spec``, if its values fit each other. Raises BadInput."""
    fields.networks(spec.pods, spec.services)
    for pool in spec.pools:
        longest = 63 - SUFFIX - 1 - len(pool.name)
        if len(spec.name) > longest:
            raise BadInput(
                f"NAME: {spec.name!r} is too long",
                why=f"machines are called {spec.name}-{pool.name}-xxxxx-xxxxx-xxxxx, at most 63 characters",
                fix=f"use at most {longest} characters, e.g. {spec.name[:longest].rstrip('-')!r}",
            )
    if sum(pool.maximum for pool in spec.pools) > fields.MOST_MACHINES:
        raise BadInput(f"all pools together are more than {fields.MOST_MACHINES} machines")
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
            f"--workers and --pool {FIRST_POOL} contradict each other", why=f"{workers} and {first.range}"
        )
    first = first or PoolGiven(FIRST_POOL, workers or parse_workers(DEFAULT_WORKERS))
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
