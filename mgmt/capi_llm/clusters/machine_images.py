"""The images that machines of a Docker cluster are made of, pulled before the cluster is made.

Cluster API's Docker provider would pull them itself, within the time that a machine has to start, and
say little of a registry that refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from capi_llm import versions
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.containers import images
from capi_llm.containers.docker import Docker
from capi_llm.settings import command_environment
from capi_llm.waiting import Cancel

CLASS = "docker-llm-clusterclass"
"""The class whose machines' images are known."""

_REPOSITORY = "kindest/node"


def has_containers(cluster_class: str) -> bool:
    """Whether ``cluster_class``, ``[NAMESPACE/]NAME``, is the one whose machines are Docker's containers."""
    return cluster_class.rpartition("/")[2] == CLASS


def of(cluster_class: str, version: str, variables: Mapping[str, Any]) -> tuple[str, ...]:
    """The images of a cluster of ``cluster_class``; none where that is not known. Pure."""
    if not has_containers(cluster_class):
        return ()
    repository = variables.get("nodeImageRepository") or _REPOSITORY
    node = f"{repository}:{version.replace('+', '_')}"
    return (versions.LOAD_BALANCER_IMAGE, node, *(variables.get("preLoadImages") or ()))


def ensure(
    spec: ClusterSpec,
    *,
    report: Callable[[str], None] = lambda text: None,
    cancel: Cancel | None = None,
) -> list[str]:
    """Have the images of ``spec`` on this machine's Docker; returns those that were pulled.

    Nothing is done where Docker is not here: the plane's may be another machine's. Raises CapiLlmError with
    the registry's words.
    """
    docker = Docker.here(command_environment(), cancel)
    if docker is None or not docker.version():
        return []
    absent = images.absent(docker, of(spec.cluster_class, spec.version, spec.variables))
    for name in absent:
        report(f"Pulling {name} …")
        images.pull(docker, name)
    return absent
