"""Proxies and package sources, as the environment names them. Nothing is downloaded.

A proxy is only dialled: whether something accepts a connection there. Addresses are shown
without user and password.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import SplitResult, urlsplit

from capi_llm.checks import Check, not_needed, ok, warning
from capi_llm.doctor.probing import PROBE_SECONDS, side_by_side
from capi_llm.fields.addresses import loopback

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_PORTS = {"https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080}
_SOURCES = {
    "package index": (("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"), "https://pypi.org/simple"),
    "Go proxy": (("GOPROXY",), "https://proxy.golang.org"),
}


@dataclass(frozen=True)
class Proxy:
    """One proxy of the environment; ``silent`` says why it does not answer, "" if it does."""

    variables: tuple[str, ...]
    address: str
    silent: str
    loopback: bool


@dataclass(frozen=True)
class Proxies:
    """Facts. ``sources`` maps what it is to where it comes from, and to the variable or ``default``."""

    proxies: tuple[Proxy, ...]
    sources: Mapping[str, tuple[str, str]]


def gather(env: Mapping[str, str]) -> Proxies:
    return Proxies(_proxies(env), {name: _source(env, *about) for name, about in _SOURCES.items()})


def judge(seen: Proxies, *, needed: bool) -> list[Check]:
    """``needed``: something is to be downloaded."""
    found = [_proxy(proxy, needed) for proxy in seen.proxies] or [not_needed("proxy", "none is set")]
    for name, (address, variable) in seen.sources.items():
        if not needed:
            found.append(not_needed(name, "nothing is to be downloaded"))
        else:
            found.append(ok(name, f"{address} ({variable}); not asked"))
    return found


def in_nodes(seen: Proxies) -> Check:
    """Whether proxies of the environment would work inside of nodes, which kind hands them to."""
    local = [proxy for proxy in seen.proxies if proxy.loopback]
    if not seen.proxies:
        return not_needed("proxy in nodes", "none is set")
    if local:
        return warning(
            "proxy in nodes",
            f"{local[0].address} is this machine's loopback, which nodes do not reach",
            "name the proxy by an address of this machine",
        )
    return ok("proxy in nodes", ", ".join(proxy.address for proxy in seen.proxies))


def shown(url: str) -> str:
    """``url`` without user and password, and without what may hold them too: query and fragment."""
    parts = _split(url)
    return f"{parts.scheme}://{_host(parts)}{parts.path if parts.path != '/' else ''}"


def is_loopback(url: str) -> bool:
    return loopback(_split(url).hostname or "")


def _proxies(env: Mapping[str, str]) -> tuple[Proxy, ...]:
    variables: dict[str, list[str]] = {}
    for name in _PROXIES:
        for variable in (name, name.upper()):
            if env.get(variable):
                variables.setdefault(env[variable], []).append(variable)
    looks = side_by_side({url: partial(_dial, url) for url in variables}, seconds=PROBE_SECONDS)
    return tuple(
        Proxy(tuple(names), shown(url), looks[url].why or looks[url].value or "", is_loopback(url))
        for url, names in variables.items()
    )


def _dial(url: str) -> str:
    """Why nothing accepts a connection there; "" where something does."""
    parts = _split(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme, 80)
        with socket.create_connection((parts.hostname or "", port), timeout=PROBE_SECONDS - 1):
            return ""
    except TimeoutError:
        return "timed out"
    except OSError as error:
        return error.strerror or "the host name is not known"
    except ValueError:
        return "its address is no address"


def _proxy(proxy: Proxy, needed: bool) -> Check:
    text = f"{proxy.address} ({', '.join(proxy.variables)})"
    if not proxy.silent:
        return ok("proxy", f"{text} accepts connections")
    return warning(
        "proxy",
        f"{text} does not answer: {proxy.silent}" + ("" if needed else "; nothing needs it now"),
        f"correct or unset {', '.join(proxy.variables)}",
    )


def _split(url: str) -> SplitResult:
    with contextlib.suppress(ValueError):
        return urlsplit(url if "://" in url else f"http://{url}")
    return urlsplit("")


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _source(env: Mapping[str, str], variables: tuple[str, ...], default: str) -> tuple[str, str]:
    for variable in variables:
        if env.get(variable):
            words = env[variable].replace("|", ",").split(",")
            return ",".join(shown(word) if "://" in word else word for word in words), variable
    return default, "default"
