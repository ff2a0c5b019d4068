"""Where a gateway is, and what it is shown. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from capi_llm.errors import BadInput
from capi_llm.fields.addresses import loopback
from capi_llm.models.gateway_answers import clean
from capi_llm.settings import Secret


@dataclass(frozen=True)
class Gateway:
    """Where it is. ``url`` is without ``/v1``; ``host`` is the Host header, where it is another one."""

    url: str
    host: str = ""
    key: Secret | None = None


def address(url: str) -> str:
    """``url`` without ``/v1`` and slashes at its end. Raises BadInput."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput("--url is no address", on=clean(url), fix="such as http://127.0.0.1:4000")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput(
            "--url has a user, a password or a query in it",
            why="other programs see what is on a command line",
            fix="give the key in the environment: CAPI_LLM_GATEWAY_KEY",
        )
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def opened(url: str, host: str, key: Secret | None) -> Gateway:
    """The gateway of ``--url`` and ``--host``. Raises BadInput."""
    if host and (not host.isascii() or any(c.isspace() or c in "/@" for c in host)):
        raise BadInput("--host is no host name", on=host[:80], fix="such as gateway.local")
    return Gateway(address(url), host, key)


def in_the_clear(gateway: Gateway) -> bool:
    """Whether what is sent to it can be read on the way."""
    parts = urlsplit(gateway.url)
    return parts.scheme == "http" and not loopback(parts.hostname or "")
