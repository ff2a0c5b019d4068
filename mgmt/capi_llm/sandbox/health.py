"""Asks a part of the sandbox whether it works, with the sandbox's own certificates.

Plain ``http.client``: probes run many times a second, and a general HTTP client's import
alone takes longer than all of them.
"""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from capi_llm.waiting import Status, pending, ready

_TIMEOUT = 3.0


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


def _connect(
    scheme: str, netloc: str, authority: Path, certificate: Path, key: Path
) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(netloc, timeout=_TIMEOUT)
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    return http.client.HTTPSConnection(netloc, timeout=_TIMEOUT, context=context)
