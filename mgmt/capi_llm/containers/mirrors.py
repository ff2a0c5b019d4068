"""Registry mirrors that the host's Docker has, as far as a container can use them.

Docker has mirrors of Docker Hub only (https://docs.docker.com/docker-hub/image-library/mirror). Nodes and
machines are told of them in a ``hosts.toml`` for each registry, as containerd reads it
(https://github.com/containerd/containerd/blob/v2.1.0/docs/hosts.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from capi_llm.containers.docker import Docker
from capi_llm.fields.addresses import loopback

HUB = "docker.io"


def of(docker: Docker) -> list[str]:
    """The mirrors of Docker Hub that a container reaches."""
    return usable(json.loads(docker.run("info", "--format", "{{json .}}")))


def usable(info: Mapping[str, Any]) -> list[str]:
    """The same, out of ``docker info``: one on this machine's loopback is left out."""
    mirrors = (info.get("RegistryConfig") or {}).get("Mirrors") or []
    return [str(url) for url in mirrors if not loopback(urlsplit(str(url)).hostname or "")]


def without_users(mirrors: Sequence[str]) -> list[str]:
    """Those of ``mirrors`` whose address has no user and no password in it."""
    return [url for url in mirrors if "@" not in url]


def hosts_toml(mirrors: Sequence[str]) -> str:
    """Containerd's configuration of Docker Hub: each mirror in turn, then the registry itself."""
    lines = ['server = "https://registry-1.docker.io"']
    for mirror in mirrors:
        lines += ["", f"[host.{json.dumps(mirror.rstrip('/'))}]", '  capabilities = ["pull", "resolve"]']
    return "\n".join(lines) + "\n"
