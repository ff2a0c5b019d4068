"""Kinds of values: how one is checked, how the environment writes it, and how JSON Schema says it.

What :meth:`Kind.check` takes, the schema takes too; the schema may take more, as it can not
tell whether two networks overlap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from capi_llm import compatibility, fields
from capi_llm.errors import BadInput
from capi_llm.fields import addresses, images, names, quantities
from capi_llm.fields.names import shown
from capi_llm.settings import model_schema, model_words, providers
from capi_llm.settings.secret import Secret

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}

PLANE_KINDS = ("sandbox", "kind", "existing")
"""Kinds of management planes; each has its recipes in :mod:`capi_llm.plane.recipes`."""

WEBHOOK_CERTS = ("self", "cert-manager")
"""Where the certificates of Cluster API's webhooks come from."""

EXPOSURES = ("ngrok", "docker", "loadbalancer", "ingress")
"""How Rancher is reached."""

DELIVERIES = ("direct", "fleet")
"""How apps come to clusters: capi-llm applies them, or Fleet on the management plane does."""

Check = Callable[[Any, str], Any]


def _same(text: str, where: str) -> Any:
    return text


@dataclass(frozen=True, eq=False)
class Kind:
    """``check`` takes a value as a file has it, and where it stands; it returns the value to work with.

    ``of_text`` makes of the environment's text what a file would have.
    """

    check: Check
    schema: Mapping[str, Any]
    of_text: Callable[[str, str], Any] = _same


def text(value: Any, where: str) -> str:
    """``value`` as text, if it was written as one, or as a whole number. Raises BadInput."""
    if isinstance(value, float):
        raise BadInput(
            f"{where}: {shown(value)} is read as a number by YAML", fix=f"write it in quotes: '{value}'"
        )
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadInput(f"{where}: {shown(value)} is not a text", fix="write it in quotes")
    try:
        return str(value)
    except ValueError as error:  # more digits than Python writes
        raise BadInput(f"{where}: the number is too long", fix="write it in quotes") from error


def _path(value: Any, where: str) -> str:
    good = text(value, where)
    if isinstance(value, int):
        raise BadInput(f"{where}: {value} is read as a number by YAML", fix=f"write it in quotes: '{value}'")
    return good


def mapping(value: Any, where: str) -> dict[str, Any]:
    """``value``, if it is a map. Raises BadInput."""
    if not isinstance(value, dict):
        raise BadInput(
            f"{where}: it has to be a map of words and values",
            why=f"it is {shown(value)}",
            fix="write `word: value`",
        )
    return value


def _text(check: Callable[[str, str], Any], pattern: str, *, number: bool = False, **more: Any) -> Kind:
    """A text that ``check`` takes; with ``number``, also one that YAML reads as a whole number."""
    schema: dict[str, Any] = {
        "type": ["string", "integer"] if number else "string",
        "pattern": f"^({pattern})$",
    }
    if number:
        schema["minimum"] = 0

    def of_file(value: Any, where: str) -> Any:
        good = check(text(value, where), where)
        if isinstance(value, int) and not number:
            raise BadInput(
                f"{where}: {value} is read as a number by YAML", fix=f"write it in quotes: '{value}'"
            )
        return good

    return Kind(of_file, schema | more)


def _control_plane(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadInput(f"{where}: {shown(value)} is not a number", fix="use 1 or 3")
    return fields.control_plane(value, where)


def _number(value: str, where: str) -> Any:
    try:
        return int(value)
    except ValueError:
        return value


def _switch(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"{where}: {shown(value)} is neither true nor false", fix="use true or false")
    return value


def _switch_of_text(value: str, where: str) -> bool:
    word = value.strip().lower()
    if word not in _TRUE | _FALSE:
        raise BadInput(
            f"{where} must be 1 or 0",
            on=f"{where.rpartition(' ')[2]}={value[:80]}",
            fix="unset it, or set it to 1",
        )
    return word in _TRUE


def _labels(value: Any, where: str) -> dict[str, str]:
    pairs = mapping(value, where).items()
    return dict(fields.label(key, text(item, f"{where}.{key}"), f"{where}.{key}") for key, item in pairs)


def _networks(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadInput(f"{where}: {shown(value)} is not a list", fix="e.g. [10.0.0.0/8]")
    return tuple(fields.network(text(item, f"{where}[{n}]"), f"{where}[{n}]") for n, item in enumerate(value))


def _networks_of_text(value: str, where: str) -> list[str]:
    return [] if value.strip() == "none" else [part.strip() for part in value.split(",") if part.strip()]


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadInput(
            f"{where}: {shown(value)} is not a list", fix="e.g. [ollama, litellm]; [none] for none"
        )
    return tuple(
        fields.dns_label(text(item, f"{where}[{n}]"), f"{where}[{n}]") for n, item in enumerate(value)
    )


def _names_of_text(value: str, where: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _images(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadInput(f"{where}: {shown(value)} is not a list", fix="e.g. [docker.io/library/redis:7]")
    found = []
    for number, item in enumerate(value):
        at = f"{where}[{number}]"
        name = fields.image(text(item, at).partition("@")[0], at)
        if "@" in str(item):
            raise BadInput(
                f"{at}: an image with a digest can not be loaded into a node",
                why="an archive of images has their tags only",
                fix=f"without the digest: {name}",
            )
        found.append(name)
    return tuple(found)


def _maps(value: Any, where: str) -> dict[str, dict[str, Any]]:
    found = mapping(value, where)
    return {
        fields.dns_label(key, f"{where}.{key}"): mapping(item, f"{where}.{key}")
        for key, item in found.items()
    }


def _word(what: str, words: tuple[str, ...]) -> Kind:
    """One of ``words``; ``what`` names it in messages."""

    def check(value: str, where: str) -> str:
        if value not in words:
            raise fields.unknown(f"{where}: {what}", value, words)
        return value

    return _text(check, "|".join(words), enum=list(words))


def _foreign(value: Any, where: str) -> Secret:
    """A key that other programs use too: it is looked at where it is used."""
    return Secret(str(value).strip())


def _secret(value: Any, where: str) -> Secret:
    return Secret(fields.secret(str(value), where))


_SECRET_SCHEMA = {"type": "string", "writeOnly": True}

NAME = _text(fields.dns_label, names.DNS_LABEL, maxLength=63)
CLASS = _text(fields.class_name, names.CLASS_NAME)
DOMAIN = _text(fields.dns_subdomain, names.DNS_SUBDOMAIN, maxLength=253)
HOST = _text(fields.hostname, names.DNS_SUBDOMAIN, maxLength=253)
ADDRESS = _text(fields.web_address, addresses.WEB)
NETWORK = _text(fields.cidr, addresses.CIDR)
KUBERNETES = _text(fields.kubernetes_version, quantities.VERSION)
RANCHER = _text(
    fields.rancher_version,
    "v?({})".format("|".join(re.escape(row.rancher[1:]) for row in compatibility.ROWS)),
)
CPU = _text(fields.cpu, quantities.CPU, number=True)
MEMORY = _text(fields.memory, quantities.MEMORY)
WORKERS = _text(fields.workers, quantities.WORKERS, number=True)
PLANE_KIND = _word("plane kind", PLANE_KINDS)
WEBHOOK_CERTS_FROM = _word("source of certificates", WEBHOOK_CERTS)
EXPOSURE = _word("exposure", EXPOSURES)
CONTROL_PLANE = Kind(_control_plane, {"type": "integer", "enum": [1, 3, 5, 7, 9]}, _number)
SWITCH = Kind(_switch, {"type": "boolean"}, _switch_of_text)
FOLDER = Kind(_path, {"type": "string", "minLength": 1})
FILE = Kind(_path, {"type": "string", "minLength": 1})
LABELS = Kind(
    _labels,
    {
        "type": "object",
        "additionalProperties": {"type": ["string", "integer"], "pattern": f"^({names.LABEL_NAME})?$"},
    },
)
VARIABLES = Kind(mapping, {"type": "object"})
NETWORKS = Kind(
    _networks,
    {"type": "array", "items": {"type": "string", "pattern": f"^{addresses.CIDR}$"}},
    _networks_of_text,
)
NAMES = Kind(
    _names,
    {"type": "array", "items": {"type": "string", "pattern": f"^{names.DNS_LABEL}$"}},
    _names_of_text,
)
MAPS = Kind(_maps, {"type": "object", "additionalProperties": {"type": "object"}})
DELIVERY = _word("delivery", DELIVERIES)
NODE_KUBERNETES = _text(fields.node_kubernetes, quantities.VERSION)
IMAGE = _text(fields.image, images.IMAGE)
IMAGES = Kind(
    _images,
    {"type": "array", "items": {"type": "string", "pattern": f"^({images.REPOSITORY})$"}},
    _names_of_text,
)
CONTEXT = _text(fields.context, images.CONTEXT)
MODELS = Kind(model_words.read, model_schema.MODELS)
PROVIDERS = Kind(providers.read, providers.SCHEMA)
API_KEY = Kind(_foreign, _SECRET_SCHEMA)
SECRET = Kind(_secret, _SECRET_SCHEMA)
