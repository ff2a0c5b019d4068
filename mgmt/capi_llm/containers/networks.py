"""Docker's networks: one with a subnet that is given, so that containers can have fixed addresses on it.

Docker gives a container an address each time it starts, the lowest that is free. A fixed one can only be
had on a network whose subnet was given when it was made
(https://docs.docker.com/engine/network/#ip-address-and-hostname).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Any

from capi_llm.containers.docker import Docker
from capi_llm.errors import CapiLlmError, CommandFailed

KIND = "kind"
"""That of kind and of Cluster API's Docker provider
(https://github.com/kubernetes-sigs/kind/blob/v0.30.0/pkg/cluster/internal/providers/docker/network.go)."""

_IPV6 = ("--ipv6", "--subnet", "fc00:f853:ccd:e793::/64")
"""As kind itself makes the network of this name."""

_MTU = "com.docker.network.driver.mtu"


def exists(docker: Docker, name: str) -> bool:
    """Whether there is a network ``name``."""
    return name in docker.run("network", "ls", "--format", "{{.Name}}").split()


def make(docker: Docker, name: str, trial: str) -> None:
    """Make network ``name`` as kind does, but with the IPv4 subnet that Docker would choose given.

    What Docker would choose is found out by making a network ``trial``, which is removed. Raises
    CommandFailed.
    """
    options = _options(docker)
    if exists(docker, trial):  # of a run that was killed
        docker.run("network", "rm", trial)
    try:
        docker.run("network", "create", *options, *_IPV6, trial)
        options += _IPV6
    except CommandFailed:  # no IPv6 on this machine
        docker.run("network", "create", *options, trial)
    subnet = _subnet(docker, trial)
    docker.run("network", "rm", trial)
    docker.run("network", "create", *options, "--subnet", str(subnet), name)


def holders(docker: Docker, name: str) -> dict[str, str]:
    """The running containers on network ``name``: container → IPv4 address."""
    found = _inspected(docker, name).get("Containers") or {}
    return {item["Name"]: str(item.get("IPv4Address") or "").partition("/")[0] for item in found.values()}


def free(docker: Docker, name: str, taken: Iterable[str], count: int) -> list[str]:
    """``count`` addresses of network ``name`` that are not among ``taken``, from its upper end: Docker
    gives from the lower."""
    if not count:
        return []
    subnet = _subnet(docker, name)
    busy = set(taken)
    found: list[str] = []
    for number in range(int(subnet.broadcast_address) - 1, int(subnet.network_address) + 1, -1):
        address = str(ipaddress.IPv4Address(number))
        if address not in busy:
            found.append(address)
        if len(found) == count:
            return found
    raise CapiLlmError("a network of Docker is full", on=name, why=f"all of {subnet} is in use")


def place(docker: Docker, name: str, container: str, address: str) -> None:
    """Give a stopped container a fixed address on network ``name``. Raises CapiLlmError."""
    leave(docker, name, container)
    try:
        docker.run("network", "connect", "--ip", address, name, container)
    except CommandFailed as error:
        if "user configured subnets" not in error.why:
            raise
        docker.run("network", "connect", name, container)
        raise CapiLlmError(
            f"{container} can not have its address {address} back",
            on=f"Docker's network {name}",
            why="the network was made by something else, without a subnet of its own",
            fix="capi-llm delete-cluster and new-cluster; a network that capi-llm makes has a subnet: remove "
            f"it while nothing is on it (docker network rm {name})",
        ) from error


def leave(docker: Docker, name: str, container: str) -> None:
    """Take a container off network ``name``, if it is on it."""
    try:
        docker.run("network", "disconnect", "--force", name, container)
    except CommandFailed as error:
        if "is not connected" not in error.why:
            raise


def _options(docker: Docker) -> list[str]:
    """As kind: masquerading, and the MTU of Docker's own network where it is not the usual one."""
    own = _inspected(docker, "bridge").get("Options") or {}
    mtu = str(own.get(_MTU) or "")
    words = ["--driver=bridge", "--opt=com.docker.network.bridge.enable_ip_masquerade=true"]
    return [*words, f"--opt={_MTU}={mtu}"] if mtu not in ("", "0", "1500") else words


def _subnet(docker: Docker, name: str) -> ipaddress.IPv4Network:
    for entry in (_inspected(docker, name).get("IPAM") or {}).get("Config") or ():
        subnet = ipaddress.ip_network(entry["Subnet"])
        if isinstance(subnet, ipaddress.IPv4Network):
            return subnet
    raise CapiLlmError("a network of Docker has no IPv4 addresses", on=name, fix=f"docker network rm {name}")


def _inspected(docker: Docker, name: str) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = json.loads(docker.run("network", "inspect", name))
    return found[0]
