"""Names that a shell completes: planes, clusters, classes, parts, models.

A person waits for these after pressing a key: files are read, or a sandbox's API server is
asked once and briefly, without the Kubernetes client, whose import alone takes longer.
Whatever fails, nothing is completed and nothing is said.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from capi_llm.identity import Identity
    from capi_llm.settings import Settings

SECONDS = 0.4
"""Longest wait for the API server."""

PLANE = "capi_llm.plane"
"""Where a context remembers a ``--name`` that stands after the command."""

Complete = Callable[["click.Context", "click.Parameter", str], list[str]]


def _silent(names: Callable[[click.Context], Iterable[str]]) -> Complete:
    @functools.wraps(names)
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        with contextlib.suppress(Exception):
            return sorted({name for name in names(context) if name.startswith(incomplete)})
        return []

    return complete


@_silent
def planes(context: click.Context) -> Iterable[str]:
    from capi_llm.identity import Identities

    return Identities(_settings().state).names()


@_silent
def clusters(context: click.Context) -> Iterable[str]:
    namespace = str(context.params.get("namespace") or "default")
    return _listed(context, f"namespaces/{namespace}/clusters")


@_silent
def classes(context: click.Context) -> Iterable[str]:
    from capi_llm.clusters.classes import shipped

    with contextlib.suppress(Exception):
        return {*(folder.name for folder in shipped()), *_listed(context, "clusterclasses")}
    return [folder.name for folder in shipped()]


@_silent
def parts(context: click.Context) -> Iterable[str]:
    from capi_llm.plane import PARTS

    return (*PARTS, "audit")


@_silent
def models(context: click.Context) -> Iterable[str]:
    return [model.name for model in _settings().models or ()]


@_silent
def ranchers(context: click.Context) -> Iterable[str]:
    from capi_llm import compatibility

    return [row.rancher for row in compatibility.ROWS]


def _listed(context: click.Context, path: str) -> list[str]:
    """The names of a list of Cluster API's objects on the plane that the command would act on."""
    from capi_llm.sandbox.health import ask
    from capi_llm.sandbox.layout import layout

    settings = _settings()
    identity = _plane(context, settings)
    if identity.kind != "sandbox":
        return []
    files = layout(settings.state, identity.name)
    answer = ask(
        f"https://127.0.0.1:{identity.ports['kube-apiserver']}/apis/cluster.x-k8s.io/v1beta1/{path}",
        authority=files.certificate("ca"),
        certificate=files.certificate("admin"),
        key=files.key("admin"),
        seconds=SECONDS,
    )
    return [str(item["metadata"]["name"]) for item in answer["items"]]


def _plane(context: click.Context, settings: Settings) -> Identity:
    from capi_llm.identity import Identities

    name = context.meta.get(PLANE) or context.find_root().params.get("plane") or ""
    return Identities(settings.state).resolve(str(name), settings.plane)


def _settings() -> Settings:
    from capi_llm.settings import Settings

    return Settings.from_environment()
