"""Docker's daemon, as its own command line sees it."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capi_llm import versions
from capi_llm.checks import GIB, Check, missing, ok, size, warning
from capi_llm.containers.docker import ASK_SECONDS, CLUSTER_LABEL, Docker
from capi_llm.errors import CapiLlmError, TimedOut

SOCKET = "/var/run/docker.sock"
"""Docker's socket, which Cluster API's Docker provider mounts into its node
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/docs/book/src/user/quick-start.md)."""

_OLDEST = (20, 10)
"""The oldest engine that a kind cluster with Cluster API was seen to run on (20.10.24)."""

_LEAST_MEMORY = 3 * GIB
_MEMORY = 6 * GIB
_MEMORY_RANCHER = 12 * GIB
"""Memory of a management cluster with one workload cluster, and with Rancher. Docker Desktop's 6 GB is in
kind's and Cluster API's own guides, the second is an estimate."""

_NEWEST_API = (1, 48)
_OLDEST_API = (1, 41)
"""Of Docker's API: what the client of Cluster API's Docker provider speaks at most
(github.com/docker/docker v28.0.2 in https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/test/go.mod),
and what kind asks for at least (https://github.com/kubernetes-sigs/kind/blob/v0.30.0/pkg/cluster/internal/providers/docker/provision.go)."""

_NO_CGROUP_1 = 35
"""The Kubernetes minor whose kubelet refuses cgroup v1 by default
(https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/5573-remove-cgroup-v1)."""

_LEAST_DISK = 4 * GIB
"""Less does not hold the images of one node and one machine."""

_DISK = 20 * GIB
"""An estimate: node and provider images, Rancher's charts and images, and one workload cluster."""

_INSTALL = "install Docker Engine: https://docs.docker.com/engine/install"


@dataclass(frozen=True)
class Facts:
    """Facts. ``info`` is ``docker info``'s own answer; empty with ``why`` where there is none.

    ``path`` is Docker's socket on the daemon's side, ``socket`` how it is: "", "absent", "forbidden",
    "no socket", or "elsewhere" where the daemon is not on this machine's own system. ``api`` are the
    oldest and the newest version of its API.
    ``clusters`` are the kind clusters that have containers; ``subnets`` those of its networks.
    """

    program: str
    why: str = ""
    info: Mapping[str, Any] | None = None
    socket: str = ""
    path: str = SOCKET
    api: tuple[str, str] = ("", "")
    host: str = ""
    free_disk: int = -1
    clusters: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()

    @property
    def answers(self) -> bool:
        return bool(self.info)


def gather(env: Mapping[str, str], *, seconds: float = ASK_SECONDS) -> Facts:
    """``env`` is the environment that ``docker`` runs with; ``seconds`` the longest wait for one answer."""
    docker = Docker.here(env, ask_seconds=seconds)
    if docker is None:
        return Facts("", why="it is not on PATH")
    program, host = str(docker.program), env.get("DOCKER_HOST", "")
    info: dict[str, Any] = {}
    try:
        info = json.loads(docker.run("info", "--format", "{{json .}}"))
        problems = info.get("ServerErrors") or []
        why = str(problems[0]) if problems else "" if info.get("ServerVersion") else "it names no version"
    except TimedOut as error:
        # One that hangs is not asked anything else.
        return Facts(program, why=error.what, socket=_socket_state(SOCKET), path=SOCKET, host=host)
    except CapiLlmError as error:
        why = _last_line(error)
    except (ValueError, AttributeError):
        why = "its answer is no JSON"
    path = _socket_path(docker, info)
    state = _socket_state(path) if path else "elsewhere"
    if why:
        return Facts(program, why=why, socket=state, path=path or SOCKET, host=host)
    return Facts(
        program=program,
        info=info,
        socket=state,
        path=path or SOCKET,
        api=_api(docker),
        host=host,
        free_disk=_free(str(info.get("DockerRootDir") or "")),
        clusters=_lines(docker, "ps", "-a", "--filter", f"label={CLUSTER_LABEL}",
                        "--format", f'{{{{.Label "{CLUSTER_LABEL}"}}}}'),
        subnets=_subnets(docker),
    )  # fmt: skip


def socket_of(docker: Docker) -> str:
    """The path of Docker's socket on the daemon's side, to be mounted into a container."""
    return _socket_path(docker, json.loads(docker.run("info", "--format", "{{json .}}"))) or SOCKET


def _socket_path(docker: Docker, info: Mapping[str, Any]) -> str:
    """The socket that the daemon listens on, on its own side; "" where that is another system than ours.

    Docker Desktop's daemon is in a virtual machine, and listens at the usual place there.
    """
    if sys.platform != "linux" or "Docker Desktop" in str(info.get("OperatingSystem") or ""):
        return ""
    host = docker.env.get("DOCKER_HOST", "")
    if not host:
        try:
            host = docker.run("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").strip()
        except CapiLlmError:
            host = f"unix://{SOCKET}"
    scheme, _, path = host.partition("://")
    return path if scheme == "unix" else ""


def _api(docker: Docker) -> tuple[str, str]:
    try:
        text = docker.run("version", "--format", "{{.Server.MinAPIVersion}} {{.Server.APIVersion}}")
        oldest, newest = text.split()
    except (CapiLlmError, ValueError):
        return "", ""
    return oldest, newest


def judge(seen: Facts, kubernetes: str = versions.NODE_KUBERNETES, *, rancher: bool = True) -> list[Check]:
    """``kubernetes`` is the version of the node; ``rancher``: whether it is to be on the plane."""
    if not seen.program:
        return [missing("docker", "not on PATH", _INSTALL)]
    found = [ok("docker", seen.program)]
    if seen.info is None:
        return [*found, missing("docker daemon", seen.why, _how_to_reach(seen))]
    info = seen.info
    return [
        *found,
        _version(str(info.get("ServerVersion"))),
        *_api_check(seen.api),
        _cgroups(str(info.get("CgroupVersion") or ""), kubernetes),
        _memory(int(info.get("MemTotal") or 0), rancher),
        _disk(seen),
        _socket_check(seen),
        *_oddities(info),
    ]


def _version(text: str) -> Check:
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        return warning(
            "docker daemon", f"its version is {text!r}", "check that it is Docker Engine 20.10 or newer"
        )
    if (int(match[1]), int(match[2])) < _OLDEST:
        return missing("docker daemon", f"{text}, 20.10 is needed", _INSTALL)
    return ok("docker daemon", text)


def _api_check(api: tuple[str, str]) -> list[Check]:
    try:
        oldest, newest = (tuple(int(word) for word in text.split(".")) for text in api)
    except ValueError:
        return []
    if oldest > _NEWEST_API:
        return [
            missing(
                "docker API",
                f"the daemon speaks {api[0]} and newer, Cluster API's Docker provider "
                f"{'.'.join(map(str, _NEWEST_API))} at most",
                'set "min-api-version": "1.44" in Docker\'s daemon.json, or use an older Docker Engine',
            )
        ]
    if newest < _OLDEST_API:
        return [missing("docker API", f"{api[1]}, {'.'.join(map(str, _OLDEST_API))} is needed", _INSTALL)]
    return [ok("docker API", f"{api[0]} to {api[1]}")]


def _cgroups(version: str, kubernetes: str) -> Check:
    if version != "1":
        return ok("cgroups", f"version {version}")
    fix = "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or keep to older nodes"
    if versions.parse(kubernetes).minor >= _NO_CGROUP_1:
        return missing(
            "cgroups", f"version 1, on which a node with Kubernetes {kubernetes} does not start", fix
        )
    return warning("cgroups", f"version 1: nodes with Kubernetes 1.{_NO_CGROUP_1} or newer do not start", fix)


def _memory(total: int, rancher: bool) -> Check:
    text = f"{size(total)} for containers"
    fix = "give Docker more memory (Docker Desktop: Settings, Resources)"
    least, wanted = (_MEMORY, _MEMORY_RANCHER) if rancher else (_LEAST_MEMORY, _MEMORY)
    if total < least * 0.9:  # a machine of 6 GB shows less
        return missing("docker memory", f"{text}, {size(least)} are needed", fix)
    if total < wanted * 0.9:
        with_it = "with Rancher" if rancher else "with a workload cluster"
        return warning("docker memory", f"{text}; {with_it} about {size(wanted)}", fix)
    return ok("docker memory", text)


def _disk(seen: Facts) -> Check:
    assert seen.info is not None
    root = str(seen.info.get("DockerRootDir") or "")
    if seen.free_disk < 0:
        return warning("docker disk", f"{root} can not be looked at from here", "check it: docker system df")
    text = f"{size(seen.free_disk)} free where {root} is"
    if seen.free_disk < _LEAST_DISK:
        return missing("docker disk", f"{text}; {size(_LEAST_DISK)} are needed", "docker system prune")
    if seen.free_disk < _DISK:
        return warning("docker disk", f"{text}; about {size(_DISK)} is wanted", "docker system prune")
    return ok("docker disk", text)


def _socket_check(seen: Facts) -> Check:
    if seen.socket == "elsewhere":
        if seen.host:
            return warning(
                "docker.sock",
                f"DOCKER_HOST is set; machines are made through {SOCKET} on the daemon's side",
                f"see that {SOCKET} leads to the same daemon",
            )
        return ok("docker.sock", f"{SOCKET} on the daemon's side")
    if seen.socket:
        return missing("docker.sock", f"{seen.path} is {_SOCKET_WORDS[seen.socket]}", _how_to_reach(seen))
    return ok("docker.sock", seen.path)


def _oddities(info: Mapping[str, Any]) -> list[Check]:
    found = []
    if str(info.get("Driver")) in ("btrfs", "zfs"):
        found.append(
            warning(
                "docker storage",
                f"driver {info['Driver']}",
                "kind mounts /dev/mapper there; see its known issues",
            )
        )
    if "/snap/" in str(info.get("DockerRootDir")):
        found.append(
            warning(
                "docker storage",
                "Docker is a snap, which does not see /tmp",
                "set TMPDIR to a folder in your home",
            )
        )
    return found


_SOCKET_WORDS = {"absent": "not there", "forbidden": "not yours to use", "no socket": "no socket"}


def _how_to_reach(seen: Facts) -> str:
    if seen.host:
        return "correct or unset DOCKER_HOST"
    if seen.socket == "forbidden":
        return "`sudo usermod -aG docker $USER`, then log in again"
    return "start Docker: `sudo systemctl start docker`, or Docker Desktop"


def _socket_state(path: str) -> str:
    try:
        about = Path(path).stat()
    except OSError:
        return "absent"
    if not stat.S_ISSOCK(about.st_mode):
        return "no socket"
    return "" if os.access(path, os.R_OK | os.W_OK) else "forbidden"


def _free(root: str) -> int:
    try:
        return shutil.disk_usage(root).free if root else -1
    except OSError:
        return -1


def _lines(docker: Docker, *words: str) -> tuple[str, ...]:
    try:
        return tuple(sorted({line for line in docker.run(*words).splitlines() if line}))
    except CapiLlmError:
        return ()


def _subnets(docker: Docker) -> tuple[str, ...]:
    names = _lines(docker, "network", "ls", "--format", "{{.Name}}")
    form = "{{range .IPAM.Config}}{{.Subnet}}\n{{end}}"
    return _lines(docker, "network", "inspect", *names, "--format", form) if names else ()


def _last_line(error: CapiLlmError) -> str:
    lines = [line.strip() for line in error.why.splitlines() if line.strip()]
    return lines[-1] if lines else error.what
