"""Docker's daemon, as its own command line sees it."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capi_llm import shell
from capi_llm.checks import GIB, Check, missing, ok, size, warning
from capi_llm.errors import CapiLlmError

SOCKET = Path("/var/run/docker.sock")
"""Cluster API's Docker provider mounts it into its node
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/docs/book/src/user/quick-start.md)."""

_OLDEST = (20, 10)
"""The oldest engine that a kind cluster with Cluster API was seen to run on (20.10.24)."""

_MEMORY = 6 * GIB
_MEMORY_RANCHER = 12 * GIB
"""Memory of a management cluster with one workload cluster, and with Rancher. Docker Desktop's 6 GB is in
kind's and Cluster API's own guides, the second is an estimate."""

_DISK = 20 * GIB
"""An estimate: node and provider images, Rancher's charts and images, and one workload cluster."""

PROBE_SECONDS = 4.0
"""Longest wait for one answer."""

_INSTALL = "install Docker Engine: https://docs.docker.com/engine/install"


@dataclass(frozen=True)
class Facts:
    """Facts. ``info`` is ``docker info``'s own answer; empty with ``why`` where there is none.

    ``socket`` is how :data:`SOCKET` is: "", "absent", "forbidden" or "no socket".
    ``clusters`` are the kind clusters that have containers; ``subnets`` those of its networks.
    """

    program: str
    why: str = ""
    info: Mapping[str, Any] | None = None
    socket: str = ""
    host: str = ""
    free_disk: int = -1
    clusters: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()

    @property
    def answers(self) -> bool:
        return bool(self.info)


def gather(env: Mapping[str, str]) -> Facts:
    """``env`` is the environment that ``docker`` runs with."""
    program = shell.which("docker")
    if program is None:
        return Facts("", why="it is not on PATH")
    host = env.get("DOCKER_HOST", "")
    try:
        info = json.loads(_ask(program, env, "info", "--format", "{{json .}}"))
        problems = info.get("ServerErrors") or []
    except CapiLlmError as error:
        return Facts(str(program), why=_last_line(error), socket=_socket(), host=host)
    except (ValueError, AttributeError):
        return Facts(str(program), why="its answer is no JSON", socket=_socket(), host=host)
    if problems or not info.get("ServerVersion"):
        why = str(problems[0]) if problems else "it names no server version"
        return Facts(str(program), why=why, socket=_socket(), host=host)
    return Facts(
        program=str(program),
        info=info,
        socket=_socket(),
        host=host,
        free_disk=_free(str(info.get("DockerRootDir") or "")),
        clusters=_lines(program, env, "ps", "-a", "--filter", "label=io.x-k8s.kind.cluster",
                        "--format", '{{.Label "io.x-k8s.kind.cluster"}}'),
        subnets=_subnets(program, env),
    )  # fmt: skip


def judge(seen: Facts) -> list[Check]:
    if not seen.program:
        return [missing("docker", "not on PATH", _INSTALL)]
    found = [ok("docker", seen.program)]
    if seen.info is None:
        return [*found, missing("docker daemon", seen.why, _how_to_reach(seen))]
    info = seen.info
    return [
        *found,
        _version(str(info.get("ServerVersion"))),
        _cgroups(str(info.get("CgroupVersion") or "")),
        _memory(int(info.get("MemTotal") or 0)),
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


def _cgroups(version: str) -> Check:
    if version == "1":
        return warning(
            "cgroups",
            "version 1: nodes with Kubernetes 1.35 or newer do not start",
            "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or keep to older nodes",
        )
    return ok("cgroups", f"version {version}")


def _memory(total: int) -> Check:
    text = f"{size(total)} for containers"
    fix = "give Docker more memory (Docker Desktop: Settings, Resources)"
    if total < _MEMORY * 0.9:  # a machine of 6 GB shows less
        return missing("docker memory", f"{text}, {size(_MEMORY)} are needed", fix)
    if total < _MEMORY_RANCHER * 0.9:
        return warning("docker memory", f"{text}; with Rancher about {size(_MEMORY_RANCHER)}", fix)
    return ok("docker memory", text)


def _disk(seen: Facts) -> Check:
    assert seen.info is not None
    root = str(seen.info.get("DockerRootDir") or "")
    if seen.free_disk < 0:
        return warning("docker disk", f"{root} can not be looked at from here", "check it: docker system df")
    text = f"{size(seen.free_disk)} free where {root} is"
    if seen.free_disk < _DISK:
        return warning("docker disk", f"{text}; about {size(_DISK)} is wanted", "docker system prune")
    return ok("docker disk", text)


def _socket_check(seen: Facts) -> Check:
    if seen.host:
        return warning(
            "docker.sock",
            f"DOCKER_HOST is set; machines are made through {SOCKET} on the daemon's side",
            f"see that {SOCKET} leads to the same daemon",
        )
    if seen.socket:
        return missing("docker.sock", f"{SOCKET} is {_SOCKET_WORDS[seen.socket]}", _how_to_reach(seen))
    return ok("docker.sock", str(SOCKET))


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


def _socket() -> str:
    try:
        about = SOCKET.stat()
    except OSError:
        return "absent"
    if not stat.S_ISSOCK(about.st_mode):
        return "no socket"
    return "" if os.access(SOCKET, os.R_OK | os.W_OK) else "forbidden"


def _free(root: str) -> int:
    try:
        return shutil.disk_usage(root).free if root else -1
    except OSError:
        return -1


def _ask(program: Path, env: Mapping[str, str], *words: str) -> str:
    return shell.run([program, *words], env=env, timeout=PROBE_SECONDS).stdout


def _lines(program: Path, env: Mapping[str, str], *words: str) -> tuple[str, ...]:
    try:
        return tuple(sorted({line for line in _ask(program, env, *words).splitlines() if line}))
    except CapiLlmError:
        return ()


def _subnets(program: Path, env: Mapping[str, str]) -> tuple[str, ...]:
    names = _lines(program, env, "network", "ls", "--format", "{{.Name}}")
    form = "{{range .IPAM.Config}}{{.Subnet}}\n{{end}}"
    return _lines(program, env, "network", "inspect", *names, "--format", form) if names else ()


def _last_line(error: CapiLlmError) -> str:
    lines = [line.strip() for line in error.why.splitlines() if line.strip()]
    return lines[-1] if lines else error.what
