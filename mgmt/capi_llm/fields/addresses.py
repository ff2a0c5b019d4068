"""Networks: is it one, does it fit Kubernetes, and does it keep apart from the others."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from capi_llm.errors import BadInput
from capi_llm.fields.names import shown

WEB = r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/%-]*)?"
"""An address on the web without credentials, query and fragment."""

CIDR = r"[0-9A-Fa-f.:]+/[0-9]{1,3}"

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Tried in this order where another network has to be named.
_PODS = (
    "192.168.0.0/16",
    "10.244.0.0/16",
    "172.20.0.0/16",
    "10.128.0.0/16",
    "100.64.0.0/16",
    "172.28.0.0/16",
)
_SERVICES = ("10.96.0.0/24", "10.43.0.0/24", "172.31.240.0/24", "192.168.240.0/24", "100.127.240.0/24")
_PODS_6 = ("fd00:244::/48", "fd10:244::/48", "fd20:244::/48")
_SERVICES_6 = ("fd00:96::/112", "fd10:96::/112", "fd20:96::/112")


_SPECIAL = tuple(
    (ipaddress.ip_network(text), what)
    for text, what in (
        ("0.0.0.0/8", "no host"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local addresses"),
        ("224.0.0.0/3", "multicast and no use"),
        ("::/127", "loopback"),
        ("fe80::/10", "link-local addresses"),
        ("ff00::/8", "multicast"),
    )
)
"""Networks that no pod or Service can have (RFC 6890, RFC 4291)."""


class HostNetwork(NamedTuple):
    """A network that this machine is in, or is to be kept away from."""

    cidr: str
    whose: str
    """Who has it, for people: ``interface eth0``, ``CAPI_LLM_HOST_NETWORKS``."""


def network(text: str, where: str) -> str:
    """A network such as 192.168.0.0/16, of IPv4 or IPv6."""
    example = "e.g. 192.168.0.0/16"
    if not re.fullmatch(CIDR, text):
        raise BadInput(
            f"{where}: {shown(text)} is not a network",
            why="it has to be an address and a prefix",
            fix=example,
        )
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError as error:
        raise BadInput(
            f"{where}: {shown(text)} is not a network", why=str(error)[:200], fix=example
        ) from error
    if interface.ip != interface.network.network_address:
        raise BadInput(
            f"{where}: {shown(text)} is not a network",
            why="bits are set behind the prefix",
            fix=f"use {str(interface.network)!r}",
        )
    return str(interface.network)


def without_password(address: str) -> str:
    """``address`` to be shown: what it has before an ``@`` may be a password."""
    return re.sub(r"//[^/]*@", "//****@", address)


def web_address(text: str, where: str) -> str:
    """An address such as ``https://charts.example.com/mirror``, without its last slash."""
    if not re.fullmatch(WEB, text):
        raise BadInput(
            f"{where}: {shown(without_password(text))} is not an address of the web",
            why="it is http:// or https://, a host and a path, without credentials",
            fix="e.g. https://charts.example.com/mirror",
        )
    return text.rstrip("/")


def cidr(text: str, where: str) -> str:
    """A :func:`network` that machines, pods or Services may have."""
    found = ipaddress.ip_network(network(text, where))
    for special, what in _SPECIAL:
        if found.version == special.version and found.overlaps(special):
            raise BadInput(
                f"{where}: {shown(text)} can not be the network of machines, pods or Services",
                why=f"{special} is for {what}",
                fix="e.g. 192.168.0.0/16" if found.version == 4 else "e.g. fd00:244::/48",
            )
    return str(found)


def networks(pods: str, services: str, *, pods_at: str = "--pods", services_at: str = "--services") -> None:
    """Pods and services must not overlap and must have sizes that Kubernetes takes."""
    pod, service = ipaddress.ip_network(pods), ipaddress.ip_network(services)
    if pod.version != service.version:
        raise BadInput(
            f"{pods_at} and {services_at} are of different IP versions",
            why=f"{pods} and {services}",
            fix=f"choose {_free(service.version, pod=True, avoid=(service,))} for pods, "
            f"or {_free(pod.version, pod=False, avoid=(pod,))} for services",
        )
    if _overlap(pod, service):
        other = _free(pod.version, pod=False, avoid=(pod,))
        raise BadInput(
            f"{pods_at} and {services_at} overlap",
            why=f"{pods} and {services} have addresses in common",
            fix="choose another network for one of them"
            + (f", e.g. --services {other}" if other else "; pods need no more than a /16"),
        )
    node, least, most = (24, 8, 12) if pod.version == 4 else (64, 48, 108)
    if pod.prefixlen > node:
        raise BadInput(
            f"{pods_at}: {pods!r} is too small",
            why=f"every node gets a /{node} of it",
            fix=f"use a prefix of at most /{node}, better /{node - 8}",
        )
    if pod.prefixlen < least:
        # kube-controller-manager's limit: 16 bits between the network and a node's part of it.
        raise BadInput(
            f"{pods_at}: {pods!r} is too large",
            why=f"every node gets a /{node} of it, and Kubernetes takes prefixes from /{least} on",
            fix=f"use a prefix of at least /{least}, better /{node - 8}",
        )
    if not most <= service.prefixlen <= service.max_prefixlen - 4:
        raise BadInput(
            f"{services_at}: {services!r} has the wrong size",
            why=f"Kubernetes takes prefixes from /{most} to /{service.max_prefixlen - 4}",
            fix=f"e.g. {_free(service.version, pod=False, avoid=(pod,))}",
        )


def apart(text: str, where: str, hosts: Iterable[HostNetwork], *, pod: bool, beside: str = "") -> None:
    """``text``, for pods or for services, must overlap with none of ``hosts``. Raises BadInput.

    ``beside`` is the other one of the two; the network that the message proposes keeps apart from it.
    """
    network = ipaddress.ip_network(text)
    hosts = list(hosts)
    for host in hosts:
        other = ipaddress.ip_network(host.cidr)
        if _overlap(network, other):
            avoid = [ipaddress.ip_network(item) for item in (*(host.cidr for host in hosts), beside) if item]
            free = _free(network.version, pod=pod, avoid=avoid)
            raise BadInput(
                f"{where}: {text!r} overlaps with a network of this machine",
                why=f"{host.cidr} is {host.whose}",
                fix=f"use {free}"
                if free
                else "use a network that is free, or correct CAPI_LLM_HOST_NETWORKS",
            )


def _free(version: int, *, pod: bool, avoid: Iterable[_Network]) -> str:
    """A usual network for pods or for services that overlaps with none of ``avoid``; empty where none is."""
    usual = (_PODS if pod else _SERVICES) if version == 4 else (_PODS_6 if pod else _SERVICES_6)
    avoid = list(avoid)
    for text in usual:
        if not any(_overlap(ipaddress.ip_network(text), other) for other in avoid):
            return text
    return ""


def loopback(host: str) -> bool:
    """Whether ``host``, a name or an address, is this machine itself. Names are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _overlap(one: _Network, other: _Network) -> bool:
    if isinstance(one, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and one.overlaps(other)
    return isinstance(other, ipaddress.IPv6Network) and one.overlaps(other)
