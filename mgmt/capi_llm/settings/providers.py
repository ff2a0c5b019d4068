"""``providers:`` of capi-llm.yaml: providers of Cluster API beside those that every plane has.

Read word by word, each mistake with its place and what to do. A version is always said: what runs is never
what happens to be the newest. Secrets are not here, only the names of the variables that have them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capi_llm import fields, versions
from capi_llm.documents import below
from capi_llm.errors import BadInput
from capi_llm.fields import addresses, names
from capi_llm.fields.names import shown
from capi_llm.settings.wording import matching, one_of, required, text, words

TYPES = (
    "infrastructure", "bootstrap", "controlPlane", "addon", "ipam", "runtimeextension",
)  # fmt: skip
"""Types of providers but the core, of which there is one
(https://github.com/rancher/turtles/blob/v0.25.6/api/v1alpha1/capiprovider_types.go)."""

OWN = {
    ("infrastructure", "docker"), ("bootstrap", "kubeadm"), ("controlPlane", "kubeadm"),
    ("addon", "rancher-fleet"),
}  # fmt: skip
"""Type and name of those that the planes bring themselves."""

_VERSION = r"v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?"
_VARIABLE = r"[A-Z][A-Z0-9_]{0,127}"
_SHA256 = r"[0-9a-f]{64}"
_LONGEST_NAME = 40
_WORDS = ("name", "type", "version", "namespace", "secret", "environment", "components", "sha256")


@dataclass(frozen=True)
class Provider:
    """One provider, pinned. ``name`` is clusterctl's, such as ``hetzner``."""

    name: str
    version: str
    type: str = "infrastructure"
    namespace: str = ""
    """Where it runs with Rancher, and where its Secret is."""

    secret: str = ""
    """A Secret with the variables of its manifests; "" where they need none."""

    environment: tuple[str, ...] = ()
    """Variables that are put into that Secret, out of the environment or ``.env``."""

    components: str = ""
    """Its manifests, where clusterctl does not know them: an address of the web, or a path."""

    sha256: str = ""

    @property
    def from_web(self) -> bool:
        return "://" in self.components


def read(value: Any, where: str) -> tuple[Provider, ...]:
    """The providers of the list ``value``. Raises BadInput with place and remedy."""
    if not isinstance(value, list):
        raise BadInput(
            f"{where}: {shown(value)} is not a list of providers", fix="write `- name: …` for each of them"
        )
    found: dict[tuple[str, str], Provider] = {}
    for number, item in enumerate(value):
        at = below(where, number)
        provider = _provider(item, at)
        if (provider.type, provider.name) in found:
            raise BadInput(
                f"{below(at, 'name')}: provider {provider.name!r} of type {provider.type} is there twice",
                why="a second one would stop both",
                fix="take one of them out",
            )
        found[provider.type, provider.name] = provider
    return tuple(found.values())


def _provider(value: Any, where: str) -> Provider:
    said = words(value, where, _WORDS)
    name = required(said, "name", where, _name)
    kind = one_of(TYPES)(said.get("type", TYPES[0]), below(where, "type"))
    if (kind, name) in OWN:
        raise BadInput(
            f"{below(where, 'name')}: provider {name!r} of type {kind} is the planes' own",
            why="capi-llm brings it in the version that goes with the others",
            fix="take it out; `capi-llm upgrade plane` brings newer ones",
        )
    environment = _environment(said.get("environment") or [], below(where, "environment"))
    secret = _text(said, "secret", where, name if environment else "")
    if secret or "secret" in said:
        fields.dns_subdomain(secret, below(where, "secret"))
    components = _components(_text(said, "components", where), below(where, "components"))
    sha256 = _text(said, "sha256", where).lower()
    if sha256:
        matching(sha256, below(where, "sha256"), _SHA256, "a SHA-256", "sha256sum FILE prints it")
    if sha256 and not components:
        raise BadInput(
            f"{below(where, 'sha256')}: it is of no file", fix="add `components:`, a path or an address"
        )
    return Provider(
        name=name,
        version=required(said, "version", where, _version),
        type=kind,
        namespace=fields.dns_label(
            _text(said, "namespace", where, f"{name}-system"), below(where, "namespace")
        ),
        secret=secret,
        environment=environment,
        components=components,
        sha256=sha256,
    )


def _text(said: Mapping[str, Any], word: str, where: str, default: str = "") -> str:
    return text(said.get(word, default), below(where, word))


def _name(value: Any, where: str) -> str:
    return fields.dns_label(text(value, where), where, longest=_LONGEST_NAME)


def _version(value: Any, where: str) -> str:
    good = matching(value, where, _VERSION, "a version", "write it with its v and whole, such as v1.0.3")
    try:
        versions.parse(good)
    except ValueError:
        raise BadInput(f"{where}: {shown(good)} is not a version", fix="e.g. v1.0.3") from None
    return good


def _environment(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadInput(f"{where}: {shown(value)} is not a list", fix="e.g. [HCLOUD_TOKEN]")
    found = []
    for number, item in enumerate(value):
        at = below(where, number)
        if not isinstance(item, str) or not re.fullmatch(_VARIABLE, item):
            raise BadInput(  # it may be a secret
                f"{at}: **** is not the name of a variable",
                why="a name is capital letters, digits and '_'; the value is not shown here",
                fix="write the variable's name, such as HCLOUD_TOKEN, and never its value",
            )
        if item.startswith("CAPI_LLM_"):
            raise BadInput(f"{at}: {item} is capi-llm's own", fix="name one of the provider's manifests")
        found.append(item)
    return tuple(dict.fromkeys(found))


def _components(value: str, where: str) -> str:
    if "://" in value and not re.fullmatch(addresses.WEB, value):
        raise BadInput(
            f"{where}: {shown(addresses.without_password(value))} is not an address of the web",
            why="it is http:// or https://, a host and a path, without credentials",
            fix="e.g. https://example.com/v1.0.3/infrastructure-components.yaml",
        )
    if "\0" in value:
        raise BadInput(f"{where}: {shown(value)} is not a path", fix="name a file")
    return value


def placed(providers: tuple[Provider, ...], absolute: Callable[[str], Path]) -> tuple[Provider, ...]:
    """``providers`` with their files as ``absolute`` makes them."""
    return tuple(
        replace(one, components=str(absolute(one.components))) if one.components and not one.from_web else one
        for one in providers
    )


def written(provider: Provider) -> dict[str, Any]:
    """The provider as a file would say it, without what is empty."""
    found = {word: getattr(provider, word) for word in _WORDS}
    return {
        word: list(value) if isinstance(value, tuple) else value for word, value in found.items() if value
    }


_ABOUT: Mapping[str, Mapping[str, Any]] = {
    "name": {"type": "string", "pattern": f"^{names.DNS_LABEL}$", "description": "its name for clusterctl"},
    "type": {"type": "string", "enum": list(TYPES), "description": "what it provides"},
    "version": {"type": "string", "pattern": f"^{_VERSION}$", "description": "its version, with v"},
    "namespace": {"type": "string", "description": "where it runs with Rancher, and where its Secret is"},
    "secret": {"type": "string", "description": "Secret with the variables of its manifests"},
    "environment": {
        "type": "array",
        "items": {"type": "string", "pattern": f"^{_VARIABLE}$"},
        "description": "variables of the environment or .env that are put into that Secret",
    },
    "components": {"type": "string", "description": "its manifests: an address, or a file"},
    "sha256": {"type": "string", "description": "of the manifests, in hex digits"},
}
SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            word: about if word in ("name", "version") else {"anyOf": [about, {"type": "null"}]}
            for word, about in _ABOUT.items()
        },
        "required": ["name", "version"],
        "additionalProperties": False,
    },
}
"""JSON Schema: what :func:`read` takes, it takes too."""
