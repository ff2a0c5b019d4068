"""Takes secrets out of text and of objects, by what they look like, by their name, and by their value.

Rather too much than too little: who helps can ask, who has read a password can not forget it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from capi_llm import secret_names
from capi_llm.secret_names import GONE

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_ENCODED = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/\n\\]{20,}={0,2}")
"""``-----BEGIN `` in base64."""

_SHAPES = (
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{6,}"), rf"\1\2{GONE}"),
    # A JSON web token; a bootstrap token of kubeadm; user and password in an address; curl's -u.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), GONE),
    (re.compile(r"(?<![\w.-])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w.-])"), GONE),
    (re.compile(r"(://)[^/\s@\"']+@"), rf"\1{GONE}@"),
    (re.compile(r"(?<=\s)(-u|--user)([ =])[^\s:]+:\S+"), rf"\1\2{GONE}"),
)
_REST_OF_NAME = re.compile(r"[\w.-]*")
_BETWEEN = re.compile(r"""\\*["']?[ \t]*[:=][ \t]*""")
_AFTER_FLAG = re.compile(r"[ \t]+(?![-\s])")
"""``--token abc``."""

_VALUE = re.compile(
    r"""(?P<open>\\*["'])(?P<quoted>(?:(?!(?P=open)|\n)(?:\\.|.))*)(?P=open)?|(?P<bare>[^\s,;&}\]"'\\]+)"""
)
_IN_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")

_SHORTEST = 6
"""Shorter values are words that stand everywhere."""

_NAMES = ("name", "key", "variable")
_VALUES = ("value", "values", "default", "example", "enum", "schema")
_POINTERS = {"name", "namespace", "kind", "apiVersion", "apiGroup", "key", "optional", "uid", "type"}


class Redactor:
    """Knows the values of secrets, and takes these and what looks like one out."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._longest_first: list[str] = []
        self.know(known)

    def know(self, values: Iterable[str]) -> None:
        """Also take out ``values``, and their base64."""
        for value in values:
            lines = [line.strip() for line in value.splitlines()]
            for line in lines if len(lines) < 50 else ():
                if _SHORTEST <= len(line) <= 4096 and not line.startswith("-----"):
                    self._known |= {line, base64.b64encode(line.encode()).decode().rstrip("=")}
        self._longest_first = sorted(self._known, key=len, reverse=True)

    def text(self, text: str) -> str:
        """``text`` without secrets; its lines stay as many, but for keys."""
        for value in self._longest_first:
            text = text.replace(value, GONE)
        text = secret_names.hide_refused(text)
        if "PRIVATE KEY" in text:
            text = _PEM.sub(GONE, text)
        if "LS0tLS1CRUdJTi" in text:
            text = _ENCODED.sub(_encoded, text)
        for pattern, gone in _SHAPES:
            text = pattern.sub(gone, text)
        return _without_named(text)

    def value(self, value: Any, *, secret: bool = False) -> Any:
        """A copy of ``value``, as JSON has it. ``secret``: it stands under the name of a secret."""
        if isinstance(value, Mapping):
            return self._mapping(value, secret)
        if isinstance(value, list | tuple):
            return [self.value(item, secret=secret) for item in value]
        if value is None or isinstance(value, bool):
            return value
        if secret:
            return GONE if value != "" else value
        if isinstance(value, str):
            return self._string(value)
        return value if isinstance(value, int | float) else GONE

    def _mapping(self, value: Mapping[Any, Any], secret: bool) -> dict[str, Any]:
        named = any(isinstance(value.get(name), str) and secret_names.secret(value[name]) for name in _NAMES)
        found = {}
        for key, item in value.items():
            own = secret_names.secret(str(key)) or (named and key in _VALUES)
            if key == "content" and "path" in value and isinstance(item, str):
                found[key] = f"{GONE} ({len(item)} characters)"  # a file for a machine: kubeadm's files
            elif secret and key in _POINTERS:
                found[key] = self.value(item)
            else:
                found[str(key)] = self.value(item, secret=secret or own)
        return found

    def _string(self, text: str) -> str:
        if text[:1] in ("{", "["):
            try:
                return json.dumps(self.value(json.loads(text)))
            except ValueError:
                pass
        return self.text(text)


def _encoded(match: re.Match[str]) -> str:
    """Certificates are public; anything else that begins like them is taken for a key."""
    text = re.sub(r"\\n|[\n\\]", "", match[0])
    try:
        decoded = base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error:
        return GONE
    return match[0] if decoded.startswith(b"-----BEGIN CERT") and b"PRIVATE KEY" not in decoded else GONE


def _without_named(text: str) -> str:
    """``text`` without the values that stand behind the name of a secret."""
    pieces, done = [], 0
    for hint in secret_names.HINT.finditer(text):
        if hint.start() < done:
            continue
        begin = hint.start()
        while begin > done and text[begin - 1] in _IN_NAME:
            begin -= 1
        end = _end(_REST_OF_NAME, text, hint.end())
        name = text[begin:end].rstrip(".-")
        flag = name.startswith("-")
        between = _BETWEEN.match(text, end) or (_AFTER_FLAG.match(text, end) if flag else None)
        value = _VALUE.match(text, between.end()) if between and secret_names.secret(name) else None
        if value is None:
            pieces.append(text[done:end])
            done = end
            continue
        quote = value["open"] or ""
        pieces += [text[done : value.start()], quote, GONE if value["quoted"] != "" else "", quote]
        done = value.end()
    return "".join([*pieces, text[done:]])


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
