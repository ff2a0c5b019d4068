"""The way from this machine to a cluster whose machines are containers.

Its kubeconfig names the address of its load balancer's container, which only Linux hosts reach, and
never from another machine. The container also publishes the port on the host, another one after each
restart of Docker, so it is looked up anew each time
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/docs/book/src/user/quick-start.md).
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import yaml

from capi_llm import documents
from capi_llm.containers.docker import Docker
from capi_llm.errors import CapiLlmError
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, Ref
from capi_llm.settings import command_environment

KINDS = ("DockerCluster", "DevCluster")
"""Kinds of infrastructure whose load balancer may be a container."""

API_PORT = "6443/tcp"
_SECONDS = 2.0


def for_host(api: Api, name: str, namespace: str, kubeconfig: str) -> str:
    """``kubeconfig`` with the server that this machine reaches; as it is where no other answers."""
    cluster = api.find(Ref(CLUSTERS, name, namespace)) or {}
    if ((cluster.get("spec") or {}).get("infrastructureRef") or {}).get("kind") not in KINDS:
        return kubeconfig
    docker = Docker.here(command_environment())
    address = _published(docker, name) if docker else None
    if address is None or not _connects(*address):
        return kubeconfig
    return with_server(kubeconfig, f"https://{address[0]}:{address[1]}")


def with_server(kubeconfig: str, server: str) -> str:
    """``kubeconfig`` with another server in each of its clusters. Pure."""
    data: dict[str, Any] = yaml.safe_load(kubeconfig)
    for entry in data["clusters"]:
        entry["cluster"]["server"] = server
    return documents.written(data)


def _published(docker: Docker, name: str) -> tuple[str, int] | None:
    """Host and port where the load balancer's port is published."""
    try:
        container = docker.find(f"{name}-lb")
    except CapiLlmError:
        return None
    if container is None or container.cluster != name or not container.ports.get(API_PORT):
        return None
    _, port = container.ports[API_PORT][0]
    remote = urlsplit(docker.env.get("DOCKER_HOST", ""))
    return (remote.hostname if remote.scheme in ("tcp", "ssh") else None) or "127.0.0.1", port


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_SECONDS):
            return True
    except OSError:
        return False
