"""The plainest kubeconfig, read without the ``kubernetes`` package, whose import takes longer than a look.

A sandbox's kubeconfig is such a one: a server on loopback, everything in the file itself,
a certificate or a token. Anything else, also anything that is wrong, is left to
:mod:`capi_llm.kube.credentials`.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from capi_llm.fields import addresses

_CLUSTER = {"server", "certificate-authority-data"}
_USER = {"client-certificate-data", "client-key-data", "token"}


@dataclass(frozen=True)
class Plain:
    """A server, whom to trust there, and how to log in: by ``tls`` or by ``token``."""

    server: str
    tls: ssl.SSLContext
    token: str


def read(path: Path, context: str | None) -> Plain | None:
    """The context of a plain kubeconfig, or None where it is not that plain."""
    try:
        return _read(yaml.safe_load(path.read_text()), context)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError):
        return None


def loopback(server: str) -> bool:
    """Whether ``server`` is this machine itself: proxies from the environment are never meant for it."""
    host = urlsplit(server).hostname or ""
    return addresses.loopback(host) or host.endswith(".localhost")


def _read(config: Any, name: str | None) -> Plain | None:
    context = _entry(config["contexts"], name or config["current-context"])["context"]
    cluster = _entry(config["clusters"], context["cluster"])["cluster"]
    user = _entry(config["users"], context["user"])["user"]
    server = cluster["server"]
    if set(cluster) != _CLUSTER or not set(user) <= _USER or not _https_on_loopback(server):
        return None
    tls = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
    if "client-certificate-data" in user:
        _log_in(tls, _decoded(user["client-certificate-data"]), _decoded(user["client-key-data"]))
    return Plain(server.rstrip("/"), tls, str(user.get("token", "")))


def _entry(entries: list[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    (found,) = (entry for entry in entries if entry["name"] == name)
    return found


def _https_on_loopback(server: str) -> bool:
    return server.startswith("https://") and loopback(server)


def _decoded(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


def _log_in(tls: ssl.SSLContext, certificate: str, key: str) -> None:
    # OpenSSL takes a key from a file only; a file in memory is gone with the process, however it ends.
    text = f"{certificate}\n{key}".encode()
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("kubeconfig"), "wb") as file:
            file.write(text)
            file.flush()
            tls.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return
    with tempfile.NamedTemporaryFile(prefix="capi-llm-") as file:  # of mode 0600
        file.write(text)
        file.flush()
        tls.load_cert_chain(file.name)
