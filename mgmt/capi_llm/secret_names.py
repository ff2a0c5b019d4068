"""Which names stand for something secret: ``apiToken``, ``NGROK_AUTHTOKEN``, ``client-key-data``.

Not those that only lead to it (``secretName``, ``tokenTTL``, ``passwordFile``).
"""

from __future__ import annotations

import functools
import itertools
import re

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET = re.compile(
    r"passw(or)?d|passphrase|passcode|secret|token|apikey|credential|bearer|authorization|privatekey"
    r"|accesskey|authkey|dockerconfig|cookie"
)
_ALONE = {"pass", "pwd", "auth", "psk"}
_KEYS = {
    "access",
    "api",
    "auth",
    "certificate",
    "client",
    "encryption",
    "private",
    "secret",
    "signing",
    "tls",
}
"""``key`` after one of these is a key that opens something."""

_LEADS_TO = {
    "class", "count", "endpoint", "expiration", "expiry", "file", "go", "id", "kind", "mode", "mount", "name",
    "names", "namespace", "namespaces", "path", "paths", "policy", "ref", "reference", "references", "refs",
    "ttl", "type", "types", "usage", "usages", "version",
}  # fmt: skip

_COUNTED = {"max", "min", "num", "total", "prompt", "completion", "input", "output", "per"}
"""``max_tokens`` is a number that models are given."""

_STEPS = re.compile(r"[\s.\[\]/]+")

_REFUSED = re.compile(
    r"""(?P<before>(?P<path>[\w.\[\]-]+): (?:Invalid|Unsupported|Duplicate) value: """
    r"""(?:\\*"(?:object|string|array)\\*": )?)"""
    r"""(?:(?P<quote>\\*")(?:.*?)(?P=quote)(?=[:,\s\]]|$)|[^:]*)(?P<after>)"""
)
_CAUSE = re.compile(
    r"""(?P<before>(?:Invalid|Unsupported|Duplicate) value: )(?:(?!"message":).)*?"""
    r"""(?P<after>"\s*,\s*"field"\s*:\s*"(?P<path>[^"]*)")"""
)
"""Within a log in JSON, quotes have one backslash or several, and the field stands behind its message too."""

GONE = "***"
"""What is shown in place of a secret."""

HINT = re.compile(r"pass|pwd|psk|secret|token|key|credential|bearer|auth|dockerconfig|cookie", re.IGNORECASE)
"""Whether a text can hold such a name at all: a quick look before a slow one."""


def hide_refused(text: str) -> str:
    """``text`` without values that were refused for a field with the name of a secret.

    The API server quotes them (``spec.variables[apiToken].value: Invalid value: "…": should match``), in
    its answers and in its own audit log.
    """
    if " value: " not in text:
        return text
    return _CAUSE.sub(_hide, _REFUSED.sub(_hide, text))


def _hide(match: re.Match[str]) -> str:
    return f"{match['before']}{GONE}{match['after']}" if on_path(match["path"]) else match[0]


def on_path(path: str) -> bool:
    """Whether any name on ``path`` is that of a secret: ``variable registry.password``, ``spec.token[0]``."""
    return any(secret(name) for name in _STEPS.split(path))


@functools.lru_cache(maxsize=10000)
def secret(name: str) -> bool:
    """Whether what ``name`` is given is secret."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] in _LEADS_TO:
        return False
    if words[-1] == "tokens" and set(words) & _COUNTED:
        return False
    joined = "".join(words)
    if _SECRET.search(joined) or _ALONE & set(words):
        return True
    return any(second == "key" and first in _KEYS for first, second in itertools.pairwise(words))
