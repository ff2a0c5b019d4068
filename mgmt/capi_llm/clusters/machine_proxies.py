"""Proxies of this process's environment, as the class of Docker clusters is told of them.

kind does the same for its nodes. What is said here holds for new clusters where nobody says otherwise, and
is never compared with one that is there.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from capi_llm.clusters.machine_images import has_containers
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.fields.addresses import loopback

VARIABLE = "proxy"
_ADDRESS = re.compile(r"https?://[-A-Za-z0-9.\[\]:]+/?")
_EXCEPTIONS = re.compile(r"[-A-Za-z0-9.,:/*_\[\]]{0,4096}")
"""As in the class."""


def offered(
    spec: ClusterSpec, proxies: Mapping[str, str], *, report: Callable[[str], None] = lambda text: None
) -> dict[str, dict[str, str]]:
    """The variable of ``spec`` that ``proxies`` (``http``, ``https``, ``no``) fill in; none where its class
    is another.

    A proxy on this machine's loopback is none for a machine of its own. One whose address has a password, or
    is not one of http, is left out, and ``report`` says so: what a class is told can be read by whoever
    reads the Cluster.
    """
    if not has_containers(spec.cluster_class) or VARIABLE in spec.variables:
        return {}
    found = {}
    for scheme in ("http", "https"):
        url = proxies.get(scheme, "")
        host = _host(url)
        if url and not (host and _ADDRESS.fullmatch(url)):
            report(f"Machines are not told of the proxy for {scheme}: its address has a password, or is odd.")
        elif url and not loopback(host):
            found[f"{scheme}Proxy"] = url
    exceptions = proxies.get("no", "").replace(" ", "")
    if found and exceptions and _EXCEPTIONS.fullmatch(exceptions):
        found["noProxy"] = exceptions
    return {VARIABLE: found} if found else {}


def _host(url: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(url).hostname or ""
    return ""
