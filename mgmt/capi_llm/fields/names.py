"""Names and labels as Kubernetes takes them, and the known word that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from capi_llm.errors import BadInput

LABEL_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DNS_SUBDOMAIN = rf"{DNS_LABEL}(\.{DNS_LABEL})*"
CLASS_NAME = rf"({DNS_LABEL}/)?{DNS_SUBDOMAIN}"

_LABEL_NAME = re.compile(LABEL_NAME)
_DNS_LABEL = re.compile(DNS_LABEL)
_SHOWN = 80
"""Characters of a wrong value that a message repeats."""

_LONGEST_WORD = 200
"""Characters in which a near word is looked for."""


def shown(value: object) -> str:
    """``value`` for a message: quoted, and short."""
    try:
        text = repr(value)
    except ValueError:  # a number with more digits than Python writes
        text = "a very long number"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of ``known`` that ``word`` was probably meant to be; empty where none is near."""
    known = list(known)
    word = word[:_LONGEST_WORD]
    for candidate in known:
        if candidate.lower().replace("-", "").replace("_", "") == word.lower().replace("-", "").replace(
            "_", ""
        ):
            return candidate
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else ""


def unknown(what: str, word: str, known: Iterable[str], *, on: str = "") -> BadInput:
    """The error for ``word`` that is none of ``known``, with what was probably meant."""
    names = sorted(known)
    close = nearest(word, names)
    return BadInput(
        f"{what} {shown(word)} is not known",
        on=on,
        why=f"known are {', '.join(names)}" if names else "there are none",
        fix=f"did you mean {close!r}?" if close else "",
    )


def dns_label(text: str, where: str, *, longest: int = 63) -> str:
    """An RFC 1123 label."""
    if not _DNS_LABEL.fullmatch(text) or len(text) > longest:
        close = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:longest].strip("-")
        raise BadInput(
            f"{where}: {shown(text)} is not a valid name",
            why=f"a name is lowercase letters, digits and '-', begins and ends with a letter or digit, "
            f"and has at most {longest} characters",
            fix=f"use {close!r}" if close else "choose another name",
        )
    return text


def dns_subdomain(text: str, where: str) -> str:
    """An RFC 1123 subdomain: labels with dots between them."""
    if len(text) > 253 or not all(_DNS_LABEL.fullmatch(part) for part in text.split(".")):
        close = ".".join(
            part
            for piece in text.lower().split(".")
            if (part := re.sub(r"[^a-z0-9-]+", "-", piece).strip("-")[:63].strip("-"))
        )
        raise BadInput(
            f"{where}: {shown(text)} is not a valid domain name",
            why="it is lowercase letters, digits and '-' with dots between them, at most 253 characters",
            fix=f"use {close!r}" if close and len(close) <= 253 else "e.g. cluster.local",
        )
    return text


def hostname(text: str, where: str) -> str:
    """A host's name in DNS, such as ``rancher.example.com``: no scheme, port or path."""
    bare = re.sub(r"^[a-z]+://", "", text.strip().lower()).partition("/")[0].partition(":")[0]
    if bare != text:
        fits = _domain(bare)
        raise BadInput(
            f"{where}: {shown(text)} is not a host's name",
            why="it has to be the name alone, in lowercase, without scheme, port and path",
            fix=f"use {bare!r}" if fits else "e.g. rancher.example.com",
        )
    if "." not in text:
        raise BadInput(
            f"{where}: {shown(text)} is not a host's name",
            why="it has no domain",
            fix=f"use {text + '.example.com'!r} with your own domain"
            if _domain(text)
            else "e.g. rancher.example.com",
        )
    return dns_subdomain(text, where)


def _domain(text: str) -> bool:
    return len(text) <= 253 and all(_DNS_LABEL.fullmatch(part) for part in text.split("."))


def secret(text: str, where: str) -> str:
    """A key or token. The message never has any of it."""
    if not re.fullmatch(r"[!-~]{8,512}", text):
        raise BadInput(
            f"{where}: **** is not a key or token",
            why="it has to be 8 to 512 characters, without spaces",
            fix="copy it again, whole, without quotes or line breaks",
        )
    return text


def class_name(text: str, where: str) -> str:
    """``NAME`` or ``NAMESPACE/NAME`` of a ClusterClass."""
    namespace, slash, name = text.rpartition("/")
    if "/" in namespace:
        raise BadInput(f"{where}: {shown(text)} is not NAME or NAMESPACE/NAME", fix=f"use {name!r}")
    if slash:
        dns_label(namespace, where)
    dns_subdomain(name, where)
    return text


def label(key: str, value: str, where: str) -> tuple[str, str]:
    """A Kubernetes label."""
    prefix, slash, name = key.rpartition("/")
    if slash:
        dns_subdomain(prefix, f"{where}: prefix of label {shown(key)}")
    if not _LABEL_NAME.fullmatch(name):
        raise BadInput(
            f"{where}: {shown(key)} is not a label's key",
            why="it is letters, digits, '-', '_' and '.', at most 63, after an optional domain and '/'",
            fix=f"use {close!r}"
            if (close := re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:63])
            else "",
        )
    if value and not _LABEL_NAME.fullmatch(value):
        close = re.sub(r"[^A-Za-z0-9_.-]+", "-", value).strip("-_.")[:63].strip("-_.")
        raise BadInput(
            f"{where}: {shown(value)} is not a label's value (of {key})",
            why="it is letters, digits, '-', '_' and '.', at most 63",
            fix=f"use {close!r}" if close else "",
        )
    return key, value
