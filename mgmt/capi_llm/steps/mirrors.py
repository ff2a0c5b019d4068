"""Registry mirrors of the host's Docker, passed on to a node's containerd.

A folder ``certs.d`` with a ``hosts.toml`` for a registry, as containerd reads it
(https://github.com/containerd/containerd/blob/v2.1.0/docs/hosts.md). Docker has mirrors of Docker Hub only.
A mirror on this machine's loopback is left out: a node does not reach it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from capi_llm.containers.docker import Docker
from capi_llm.fields.addresses import loopback
from capi_llm.files import write_private

_HUB = "docker.io"


def write(docker: Docker, folder: Path) -> Path | None:
    """The folder of the mirrors that nodes can use, written below ``folder``; None where there are none."""
    info = json.loads(docker.run("info", "--format", "{{json .}}"))
    found = usable(info)
    target = folder / "certs.d"
    shutil.rmtree(target, ignore_errors=True)
    if not found:
        return None
    write_private(target / _HUB / "hosts.toml", hosts_toml(found))
    return target


def usable(info: Mapping[str, Any]) -> list[str]:
    """The mirrors of ``docker info`` that a container reaches."""
    mirrors = (info.get("RegistryConfig") or {}).get("Mirrors") or []
    return [str(url) for url in mirrors if not loopback(urlsplit(str(url)).hostname or "")]


def hosts_toml(mirrors: Sequence[str]) -> str:
    """Containerd's configuration of Docker Hub: each mirror in turn, then the registry itself."""
    lines = ['server = "https://registry-1.docker.io"']
    for mirror in mirrors:
        lines += ["", f"[host.{json.dumps(mirror.rstrip('/'))}]", '  capabilities = ["pull", "resolve"]']
    return "\n".join(lines) + "\n"
