"""What a user said about a cluster, by flags, in a file or in settings; nothing is filled in yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from capi_llm import fields
from capi_llm.errors import BadInput
from capi_llm.fields import Range
from capi_llm.fields.names import shown


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
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each field was said, for messages."""


def parse_pool(text: str, where: str = "--pool") -> PoolGiven:
    """``NAME=MIN..MAX[:CLASS]``, e.g. ``gpu=0..2:gpu-worker``. Raises BadInput."""
    name, equals, rest = text.partition("=")
    if not equals:
        raise BadInput(
            f"{where}: {shown(text)} is not NAME=MIN..MAX[:CLASS]",
            fix=f"use {name[:63] or 'gpu'}=0..2:gpu-worker",
        )
    span, colon, worker_class = rest.partition(":")
    fields.dns_label(name, where)
    if colon:
        fields.dns_label(worker_class, f"{where} {name}")
    return PoolGiven(name, fields.workers(span, f"{where} {name}"), worker_class)


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
        workers=None if workers is None else fields.workers(workers),
        cpu=None if cpu is None else fields.cpu(cpu, "--cpu"),
        memory=None if memory is None else fields.memory(memory, "--memory"),
        pools=parsed,
        labels=dict(fields.label(*fields.key_value(text, "--label"), "--label") for text in labels),
        variables=fields.variables(variables),
        places={"pods": "--pods", "services": "--services"},
    )


def no_duplicates(pools: Iterable[PoolGiven], where: str) -> None:
    """Raise BadInput where two pools have one name."""
    seen: set[str] = set()
    for pool in pools:
        if pool.name in seen:
            raise BadInput(f"{where}: pool {pool.name!r} is there twice", fix="give one of them another name")
        seen.add(pool.name)
