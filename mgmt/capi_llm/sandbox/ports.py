"""Ports and loopback addresses, assigned to sandboxes so that several run side by side.

Ports come from below the range that Linux hands out to outgoing connections
(32768 and up, ``ip_local_port_range``), so that nothing takes one by chance while a
part is down, and above the in-memory provider's own fixed range.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping

from capi_llm.errors import PrerequisiteMissing

CONTROL_PLANE = (
    "kube-apiserver",
    "etcd",
    "etcd-peer",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
)
"""Every port of a control plane, the sandbox's own or that of a KWOK workload cluster."""

WORKLOAD = (*CONTROL_PLANE, "litellm")
"""Every port of a KWOK workload cluster: also of the real LiteLLM behind its simulated pods."""

NAMES = (
    *CONTROL_PLANE,
    *(
        f"{manager}-{use}"
        for manager in ("capi-core", "capi-bootstrap", "capi-control-plane", "capi-docker")
        for use in ("webhook", "health", "diagnostics")
    ),
    "kwok-provider",
)
"""Every port of a sandbox. A part's first port carries its name."""

_FIRST, _LAST = 24100, 32700

IN_MEMORY_PORTS = (20000, 19000)
"""First workload API server and debug server of the in-memory provider: fixed in its code
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/test/infrastructure/inmemory/pkg/server/mux.go)."""

IN_MEMORY_RANGE = (20000, 24000)
"""Ports of the in-memory provider's workload API servers, from the same file."""

_LOOPBACKS = 64
_TRIES = 32


def room(endpoints: Iterable[int]) -> int:
    """How many more workload clusters the in-memory provider has ports for.

    ``endpoints`` are the API server ports of the clusters there are. The provider counts
    upwards and uses no port a second time (``getFreePortLocked`` in the file above); started
    again, it goes on behind the highest port in use.
    """
    first, last = IN_MEMORY_RANGE
    return last - max((port for port in endpoints if first <= port <= last), default=first - 1)


def free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether nothing listens on ``port``: tried by binding it, as the part itself will."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def is_loopback(address: str) -> bool:
    """Whether ``address`` is one of 127.0.0.0/8."""
    try:
        return ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        return False


def owner(name: str) -> str:
    """The part that the port called ``name`` belongs to."""
    for use in ("-peer", "-webhook", "-health", "-diagnostics"):
        name = name.removesuffix(use)
    return name


def assign(taken: Iterable[int], names: Iterable[str] = NAMES) -> dict[str, int]:
    """A free port for each of ``names``, none of them in ``taken``.

    ``taken`` are the ports of other planes and of workload clusters, whether these run or not.
    The caller keeps others from assigning at the same time (the lock ``.planes``).
    """
    used = set(taken)
    found: dict[str, int] = {}
    # From a random place on: another user's sandbox, made in the same moment, looks elsewhere.
    begin = _FIRST + secrets.randbelow(_LAST - _FIRST)
    candidates = iter([*range(begin, _LAST), *range(_FIRST, begin)])
    for name in names:
        for port in candidates:
            if port not in used and free(port):
                found[name] = port
                break
        else:
            raise PrerequisiteMissing(
                "no free port is left for the sandbox",
                on=f"127.0.0.1:{_FIRST}-{_LAST}",
                fix="destroy a plane that is not needed: `capi-llm planes list`",
            )
    return found


def assign_loopback(taken: Iterable[str]) -> str:
    """A 127.0.N.N of its own for the simulated machines, whose ports are fixed.

    One of so many that another user's sandbox, made in the same moment, has another. Where only some of
    127.0.0.0/24 can be had (macOS), one of these. Raises PrerequisiteMissing where every address is in use;
    on macOS as it comes that is so from the second sandbox on.
    """
    used = set(taken)
    dice = secrets.SystemRandom()
    many = [f"127.0.{dice.randint(1, 254)}.{dice.randint(1, 254)}" for _ in range(_TRIES)]
    few = [f"127.0.0.{number}" for number in range(1, _LOOPBACKS)]
    dice.shuffle(few)
    for address in (*many, *few):
        if address not in used and all(free(port, address) for port in IN_MEMORY_PORTS):
            return address
    raise PrerequisiteMissing(
        "no loopback address is left for another sandbox's simulated machines",
        on=f"ports {IN_MEMORY_PORTS[0]} and {IN_MEMORY_PORTS[1]}",
        why="those ports are fixed in the in-memory provider, so each sandbox needs an address of its own",
        fix="destroy a sandbox (`capi-llm planes list`), or end what else listens on these ports; "
        "on macOS add an address: sudo ifconfig lo0 alias 127.0.0.2",
    )


def taken_by_others(ports: Mapping[str, int], running: Iterable[str]) -> dict[str, int]:
    """Those of ``ports`` that something listens on though the part that owns them is not in ``running``."""
    own = set(running)
    return {name: port for name, port in ports.items() if owner(name) not in own and not free(port)}
