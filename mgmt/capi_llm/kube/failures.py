"""What a refusal of the API server means, as an exception of :mod:`capi_llm.errors`.

The HTTP status alone does not say it: an admission plugin or webhook that says no
answers 403 like a missing permission, a namespace that is being deleted answers 403
too, and a webhook whose process has not started yet shows as 500.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3.exceptions as http

from capi_llm import secret_names
from capi_llm.errors import ApiError, Conflict, Forbidden, Gone, Invalid, NotFound, Unauthorized, Unavailable
from capi_llm.secret_names import GONE

_DENIED = re.compile(r"admission webhook .* denied|ValidatingAdmissionPolicy", re.DOTALL)
# What does not fit the schema is a 400 where it is created, and a 500 where it is applied.
_MALFORMED = re.compile(r"^failed to (create typed patch object|convert new object)")
_PERMISSION = re.compile(r"\buser \"|\bno permission|not allowed to", re.I)
_OWNER = re.compile(r'conflict with "([^"]*)"')
STARTING = "Starting"
"""The reason of an :class:`Unavailable` of a server that is not ready yet, whatever it has answered."""
_NO_PATHS = "before all known HTTP paths have been installed"
"""https://github.com/kubernetes/apiserver/blob/v0.32.2/pkg/util/notfoundhandler/not_found_handler.go"""
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})


def from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, what: str, on: str, sent: Any = None
) -> ApiError | NotFound:
    """The exception for an answer with an HTTP error status.

    ``what`` was tried ``on`` which object; ``sent`` is the request's body, whose secret
    values are taken out of the server's message.
    """
    answer = _status_object(body)
    reason = str(answer.get("reason", ""))
    why = scrub(answer["message"] if answer.get("message") else _plain(status, body), sent)
    details = (answer.get("details") or {}).get("causes") or []
    causes = {str(cause.get("reason", "")) for cause in details}
    if status == 404:
        return NotFound(what, on=on, why=why)
    if status == 401:
        return Unauthorized(
            what,
            status=status,
            reason=reason,
            on=on,
            why=why,
            fix="the credentials in the kubeconfig are not accepted or have expired: log in again",
        )
    if status == 409:
        if "FieldManagerConflict" in causes:
            return Conflict(what, status=status, reason="FieldManagerConflict", on=on, why=_owners(details))
        return Conflict(what, status=status, reason=reason, on=on, why=why)
    if status == 410:
        return Gone(what, status=status, reason=reason, on=on, why=why)
    if status == 403:
        if "NamespaceTerminating" in causes:
            return Conflict(
                what,
                status=status,
                reason="NamespaceTerminating",
                on=on,
                why=why,
                fix="run the same command again when the namespace is gone",
            )
        # Quotas, pod security and webhooks answer 403 as well; no role would help there.
        if _DENIED.search(why) or (" is forbidden: " in why and not _PERMISSION.search(why)):
            return Invalid(what, status=status, reason=reason, on=on, why=why)
        return Forbidden(
            what,
            status=status,
            reason=reason,
            on=on,
            why=why,
            fix="use credentials with this permission (kubectl auth can-i --list shows what these may do)",
        )
    if status in (400, 422) or (status == 500 and _MALFORMED.search(why)):
        return Invalid(what, status=status, reason=reason, on=on, why=why)
    if status in _TRANSIENT:
        return Unavailable(
            what, status=status, reason=reason, on=on, why=why, retry_after=_retry_after(headers, answer)
        )
    return ApiError(what, status=status, reason=reason, on=on, why=why)


def from_status_object(answer: Mapping[str, Any], *, what: str, on: str) -> ApiError | NotFound:
    """The exception for a ``Status`` object that came inside a watch."""
    code = int(answer.get("code") or 500)
    if answer.get("reason") in ("Expired", "Gone"):
        code = 410
    return from_response(code, {}, json.dumps(answer).encode(), what=what, on=on)


def from_connection(error: Exception, *, server: str, what: str, on: str) -> ApiError:
    """The exception where no answer came. A certificate that is not trusted does not mend by waiting."""
    root = _root(error)
    if isinstance(root, ssl.SSLCertVerificationError):
        return ApiError(
            what,
            status=0,
            reason="Untrusted",
            on=on,
            why=f"the certificate of {server} is not trusted: {root.verify_message or root.reason}",
            fix="check certificate-authority and server in the kubeconfig",
        )
    if isinstance(root, (FileNotFoundError, PermissionError)):
        return ApiError(what, status=0, reason="Credentials", on=on, why=f"can not read {root.filename}")
    refused = isinstance(root, ConnectionRefusedError)
    return Unavailable(
        what,
        reason="ConnectionRefused" if refused else "",
        on=on,
        why=f"no answer from {server}: {_connection_message(root)}",
    )


def starting(error: BaseException | None) -> bool:
    """Whether the server has said that it is still starting, and has done nothing."""
    return isinstance(error, Unavailable) and (error.reason == STARTING or _NO_PATHS in error.why)


def never_arrived(error: BaseException | None) -> bool:
    """Whether the server has surely done nothing, so that any method may be sent again."""
    return starting(error) or (
        isinstance(error, Unavailable) and (error.reason == "ConnectionRefused" or error.status == 429)
    )


def scrub(message: str, sent: Any) -> str:
    """``message`` without secrets: validation errors quote what they got.

    Those are the values of a Secret in ``sent``, what ``sent`` says under the name of a secret
    (a class variable, for one), and what the message itself quotes for a field so named.
    """
    if isinstance(sent, Mapping):
        values = _secret_values(sent) if sent.get("kind") == "Secret" else _named_values(sent)
        for value in sorted({text for text in values if len(text) > 2}, key=len, reverse=True):
            message = message.replace(json.dumps(value)[1:-1], GONE).replace(value, GONE)
    return secret_names.hide_refused(message)


def _owners(causes: list[Mapping[str, Any]]) -> str:
    """Who owns the fields that an apply would change: ``kubectl-edit owns .data.a, .data.b``."""
    fields: dict[str, list[str]] = {}
    for cause in causes:
        match = _OWNER.search(str(cause.get("message", "")))
        fields.setdefault(match[1] if match else "another manager", []).append(str(cause.get("field", "")))
    return "; ".join(f"{owner} owns {', '.join(names)}" for owner, names in fields.items())


def _named_values(value: Any, *, hidden: bool = False) -> Iterator[str]:
    """Every text below ``value`` that stands under the name of a secret."""
    if isinstance(value, Mapping):
        named = isinstance(value.get("name"), str) and secret_names.secret(value["name"])
        for key, item in value.items():
            own = secret_names.secret(str(key)) or (named and key == "value")
            yield from _named_values(item, hidden=hidden or own)
    elif isinstance(value, list):
        for item in value:
            yield from _named_values(item, hidden=hidden)
    elif hidden and isinstance(value, str):
        yield value


def _secret_values(secret: Mapping[str, Any]) -> Iterator[str]:
    public = {"apiVersion", "kind", "metadata", "type", "immutable"}
    for text in _leaves([value for key, value in secret.items() if key not in public]):
        yield text
        with contextlib.suppress(binascii.Error, ValueError):
            if decoded := base64.b64decode(text, validate=True).decode():
                yield decoded


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value not in (None, "", True, False):
        yield str(value)


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _plain(status: int, body: bytes) -> str:
    """A line for an answer that is no Status: a proxy's page, or the checks of ``/readyz`` that fail."""
    checks = [line.split()[0][3:] for line in body.decode(errors="replace").splitlines() if line[:3] == "[-]"]
    if checks:
        return f"{', '.join(checks)} failed"
    text = " ".join(body[:400].decode(errors="replace").split())
    return f"HTTP {status}" if not text or text.startswith("<") else f"HTTP {status}: {text}"


def _retry_after(headers: Mapping[str, str], answer: Mapping[str, Any]) -> float | None:
    text = headers.get("Retry-After") or (answer.get("details") or {}).get("retryAfterSeconds")
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:  # an HTTP date: API servers send seconds, what stands between may not
        return None


def _root(error: BaseException) -> BaseException:
    """The operating system's own error below urllib3's wrapping."""
    seen: set[int] = set()
    current: BaseException = error
    while id(current) not in seen:
        seen.add(id(current))
        inner = getattr(current, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in current.args if isinstance(arg, BaseException)), None)
        if inner is None:
            inner = current.__cause__ or current.__context__
        if inner is None or isinstance(current, (OSError, ssl.SSLError)):
            break
        current = inner
    return current


def _connection_message(root: BaseException) -> str:
    if isinstance(root, ConnectionRefusedError):
        return "connection refused"
    if isinstance(root, (TimeoutError, http.TimeoutError)):
        return "timed out"
    if isinstance(root, socket.gaierror):
        return "the host name is not known"
    return f"{type(root).__name__}: {root}" if str(root) else type(root).__name__
