"""Asks a part of the sandbox whether it works, with the sandbox's own certificates.

Plain ``http.client``: probes run many times a second, and a general HTTP client's import
alone takes longer than all of them.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.parts import Part
from capi_llm.waiting import Status, pending, ready

_TIMEOUT = 10.0
"""Seconds for each step of an answer. A part that does not run refuses at once; what takes seconds is a
machine that does much else, and says nothing about the part."""


def health(url: str, *, authority: Path, certificate: Path, key: Path) -> Status:
    """READY if ``url`` answers 200; PENDING with what it answered, or why it did not, otherwise."""
    parts = urlsplit(url)
    try:
        connection = _connect(parts.scheme, parts.netloc, authority, certificate, key)
        try:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            text = answer.read(400).decode(errors="replace").strip()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return pending(f"not answering on {parts.netloc}: {error}")
    if answer.status == 200:
        return ready("healthy")
    return pending(f"{parts.netloc} answers {answer.status}: {text.splitlines()[-1] if text else 'nothing'}")


def of_part(layout: Layout, part: Part) -> Status:
    """:func:`health` of ``part``, asked with the certificates that it expects."""
    etcd = part.name == "etcd"
    client = "etcd-client" if etcd else "admin"
    return health(
        part.health,
        authority=layout.certificate("etcd-ca" if etcd else "ca"),
        certificate=layout.certificate(client),
        key=layout.key(client),
    )


def ask(url: str, *, authority: Path, certificate: Path, key: Path, seconds: float) -> Any:
    """The JSON that ``url`` answers with. Raises OSError, HTTPException or ValueError where it does not.

    ``seconds`` is the longest wait for each step: connection, handshake, answer.
    """
    parts = urlsplit(url)
    connection = _connect(parts.scheme, parts.netloc, authority, certificate, key, seconds)
    try:
        connection.request("GET", parts.path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        return json.loads(answer.read())
    finally:
        connection.close()


def _connect(
    scheme: str, netloc: str, authority: Path, certificate: Path, key: Path, seconds: float | None = None
) -> http.client.HTTPConnection:
    seconds = seconds or _TIMEOUT
    if scheme == "http":
        return http.client.HTTPConnection(netloc, timeout=seconds)
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    return http.client.HTTPSConnection(netloc, timeout=seconds, context=context)
