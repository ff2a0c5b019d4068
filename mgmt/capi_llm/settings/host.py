"""The networks that this machine is in, and who listens on its ports."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

from capi_llm.fields import HostNetwork


def networks() -> tuple[HostNetwork, ...]:
    """Networks of all interfaces, up or down, Docker's bridges and VPNs among them.

    Without loopback and link-local addresses, and those of a single host. What a VPN only
    routes to is not an interface's network: `host.networks` is for saying it.
    """
    import psutil

    found: dict[str, HostNetwork] = {}
    try:
        interfaces = psutil.net_if_addrs()
    except OSError:  # a system that does not tell; the check is a help, not a lock
        return ()
    for name, addresses in sorted(interfaces.items()):
        for address in addresses:
            if address.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            text = _network(address.address.partition("%")[0], address.netmask)
            if text:
                found.setdefault(text, HostNetwork(text, f"a network of interface {name}"))
    return tuple(found.values())


def _network(address: str, mask: str | None) -> str:
    try:
        ip = ipaddress.ip_address(address)
        # ipaddress takes masks of IPv4 only.
        length = str(mask) if ip.version == 4 else str(bin(int(ipaddress.ip_address(str(mask)))).count("1"))
        network = ipaddress.ip_interface(f"{address}/{length}").network
    except ValueError:
        return ""
    if ip.is_loopback or ip.is_link_local or network.num_addresses == 1:
        return ""
    return str(network)


def listener(port: int) -> str:
    """The program that listens on TCP ``port``, as ``python3 (pid 4711)``; "" where that is not told.

    Who is not root sees only their own programs.
    """
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for line in psutil.net_connections("tcp"):
            if line.status == psutil.CONN_LISTEN and line.pid and line.laddr and line.laddr[1] == port:
                return f"{psutil.Process(line.pid).name()} (pid {line.pid})"
    return ""
