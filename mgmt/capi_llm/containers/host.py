"""What a kind cluster needs of its machine besides Docker: kernel limits, ports, networks, credentials."""

from __future__ import annotations

import contextlib
import ipaddress
import platform
import socket
import struct
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from capi_llm.checks import Check, missing, not_needed, ok, warning
from capi_llm.containers.facts import Facts

_INOTIFY = {"max_user_watches": 1048576, "max_user_instances": 8192}
"""For several clusters (https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/docs/book/src/user/troubleshooting.md)."""

_PORTS = (80, 443)
_NGROK = ("NGROK_API_KEY", "NGROK_AUTHTOKEN")
_HOSTNAME = "RANCHER_HOSTNAME"
VARIABLES = (*_NGROK, _HOSTNAME)
"""Looked for by name; their values are never read."""

_PODS = "192.168.0.0/16"
"""Default pod network of a workload cluster."""

Network = ipaddress.IPv4Network


@dataclass(frozen=True)
class Host:
    """Facts. ``routes`` are the machine's networks as (interface, network); ``given`` are names of
    :data:`VARIABLES` that are set. ``taken`` are those of ports 80 and 443 that something listens on."""

    system: str
    processor: str
    inotify: dict[str, int]
    taken: tuple[int, ...]
    routes: tuple[tuple[str, str], ...]
    given: tuple[str, ...]


def gather(given: Collection[str]) -> Host:
    return Host(
        system=sys.platform,
        processor=platform.machine(),
        inotify=_inotify(),
        taken=tuple(port for port in _PORTS if _listens(port)),
        routes=_routes(),
        given=tuple(name for name in VARIABLES if name in given),
    )


def judge(seen: Host, *, name: str, docker: Facts, rancher: bool = True) -> list[Check]:
    """``name`` is the kind cluster's. Without an answer of ``docker``, its names and networks are left out;
    without ``rancher`` its ports and credentials are."""
    return [
        *_limits(seen),
        *([_name(name, docker.clusters), _networks(seen, docker.subnets)] if docker.answers else ()),
        *([_ports(seen)] if rancher else ()),
        _architecture(seen),
        *(_credentials(seen) if rancher else ()),
    ]


def _limits(seen: Host) -> list[Check]:
    if seen.system != "linux":
        return [not_needed("inotify", "Docker's own virtual machine has the limits")]
    found = []
    for limit, wanted in _INOTIFY.items():
        name = f"inotify {limit}"
        has = seen.inotify.get(limit, 0)
        if has < wanted:
            found.append(
                warning(
                    name,
                    f"{has}, {wanted} are wanted for several clusters",
                    f"sudo sysctl fs.inotify.{limit}={wanted}",
                )
            )
        else:
            found.append(ok(name, str(has)))
    return found


def _name(name: str, clusters: Iterable[str]) -> Check:
    if name in clusters:
        return missing(
            "kind cluster",
            f"there is one called {name!r} already",
            f"set CLUSTER_NAME to another name, or kind delete cluster --name {name}",
        )
    return ok("kind cluster", f"the name {name!r} is free")


def _ports(seen: Host) -> Check:
    if seen.taken:
        taken = " and ".join(map(str, seen.taken))
        return warning(
            "ports 80, 443",
            f"something listens on {taken}; Rancher's ingress needs other ports then",
            "end it (`ss -ltnp` names it), or expose Rancher by ngrok",
        )
    return ok("ports 80, 443", "free")


def _networks(seen: Host, subnets: Iterable[str]) -> Check:
    docker = [network for text in subnets if (network := _network(text))]
    # Docker's own bridges are routes of the machine too.
    others = [
        (name, network) for name, text in seen.routes if (network := _network(text)) and network not in docker
    ]
    for name, network in others:
        for mine in docker:
            if network.overlaps(mine):
                return warning(
                    "networks",
                    f"Docker's {mine} overlaps {network} of {name}: one of them is not reached",
                    "set default-address-pools in Docker's daemon.json",
                )
    pods = ipaddress.IPv4Network(_PODS)
    for name, network in others:
        if network.overlaps(pods):
            return warning(
                "networks",
                f"{network} of {name} is within the default pod network {_PODS}: pods do not reach it",
                "new-cluster --pods with another network",
            )
    return ok("networks", "Docker's and the machine's do not overlap")


def _architecture(seen: Host) -> Check:
    if seen.processor in ("arm64", "aarch64"):
        return warning(
            "architecture",
            "arm64: not every image has it, and an autoscaler takes new nodes for amd64",
            "set CAPI_SCALE_ZERO_DEFAULT_ARCH=arm64 for the autoscaler",
        )
    return ok("architecture", seen.processor)


def _credentials(seen: Host) -> list[Check]:
    """ngrok's operator takes both credentials or none."""
    ngrok = [name for name in _NGROK if name in seen.given]
    if len(ngrok) == 1:
        absent = next(name for name in _NGROK if name not in ngrok)
        found = missing("ngrok", f"{ngrok[0]} is set and {absent} is not", f"set {absent} too, or neither")
    elif ngrok:
        found = ok("ngrok", f"{' and '.join(_NGROK)} are set")
    else:
        found = not_needed("ngrok", f"{' and '.join(_NGROK)} are not set: Rancher would be local")
    if ngrok and _HOSTNAME not in seen.given:
        host = missing("rancher host", f"{_HOSTNAME} is not set", f"set {_HOSTNAME} to your ngrok domain")
    elif _HOSTNAME in seen.given:
        host = ok("rancher host", f"{_HOSTNAME} is set")
    else:
        host = not_needed("rancher host", f"{_HOSTNAME} is not set: Rancher would be local")
    return [found, host]


def _inotify() -> dict[str, int]:
    found = {}
    for limit in _INOTIFY:
        with contextlib.suppress(OSError, ValueError):
            found[limit] = int(Path(f"/proc/sys/fs/inotify/{limit}").read_text())
    return found


def _listens(port: int) -> bool:
    """Whether something accepts connections; binding below 1024 is not everybody's to try."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _routes() -> tuple[tuple[str, str], ...]:
    """The machine's IPv4 networks from /proc/net/route, without the default route and loopback."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return ()
    found = []
    for line in lines:
        words = line.split()
        if not int(words[7], 16):
            continue
        address, mask = (socket.inet_ntoa(struct.pack("=L", int(words[at], 16))) for at in (1, 7))
        if not address.startswith("127."):
            found.append((words[0], str(ipaddress.ip_network(f"{address}/{mask}", strict=False))))
    return tuple(found)


def _network(text: str) -> Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None
