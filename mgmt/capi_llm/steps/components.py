"""Cluster API's own manifests, as ``clusterctl init`` installs them, for a cluster that runs them as pods.

What is changed: variables are filled in (``CLUSTER_TOPOLOGY=true``); images are the pinned ones and
are pulled only where the node lacks them; without cert-manager its Certificates and Issuers are
left out, and the webhooks trust our authority instead; on a kind plane the Docker provider runs on
the node that has Docker's socket. Where managers are processes: :mod:`capi_llm.sandbox.components`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from capi_llm import documents, versions
from capi_llm.errors import BadInput, CapiLlmError
from capi_llm.sandbox.components import FILES, client_configs, content, ours, unreadable, without_injection

VARIABLES = {"CLUSTER_TOPOLOGY": "true"}
"""Those that are not left at the default of the manifests."""

_CERT_MANAGER = {"Certificate", "Issuer"}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?[=-]([^}]*))?\}")

Object = dict[str, Any]


def load(
    folder: Path, *, authority: str = "", node_label: str = "", images: Mapping[str, str] | None = None
) -> list[Object]:
    """Every object of the four providers but the Deployments, ready to apply.

    ``authority`` (PEM) signs the webhooks' certificates; without it, cert-manager does.
    """
    return [
        item
        for manager in FILES
        for item in of_manager(folder, manager, authority=authority, node_label=node_label, images=images)
        if item["kind"] != "Deployment"
    ]


def deployment(
    folder: Path, manager: str, *, node_label: str = "", images: Mapping[str, str] | None = None
) -> Object:
    """The Deployment of one manager."""
    found = of_manager(folder, manager, node_label=node_label, images=images)
    return next(item for item in found if item["kind"] == "Deployment")


def of_manager(
    folder: Path,
    manager: str,
    *,
    authority: str = "",
    node_label: str = "",
    images: Mapping[str, str] | None = None,
) -> Iterator[Object]:
    """The objects of one manager. Pure but for reading its file."""
    for item in read(folder / FILES[manager]):
        changed = ours(item)
        if authority and not with_authority(changed, authority):
            continue
        if changed["kind"] == "Deployment":
            _run(changed, (images or versions.CLUSTER_API_IMAGES)[manager])
            if manager == "capi-docker" and node_label:
                changed["spec"]["template"]["spec"]["nodeSelector"] = {node_label: "true"}
        yield changed


def serving_hosts(folder: Path, manager: str) -> tuple[str, str, tuple[str, ...]]:
    """Namespace and name of the Secret with a manager's serving certificate, and its DNS names, as its
    Certificate for cert-manager says."""
    certificate = next(item for item in read(folder / FILES[manager]) if item["kind"] == "Certificate")
    spec = certificate["spec"]
    return certificate["metadata"]["namespace"], spec["secretName"], tuple(spec["dnsNames"])


def namespace(folder: Path, manager: str) -> Object:
    """The Namespace of a manager."""
    return next(dict(item) for item in read(folder / FILES[manager]) if item["kind"] == "Namespace")


def fingerprint(folder: Path, *said: str) -> str:
    """A word that stands for what :func:`load` returns with the arguments ``said``."""
    digest = hashlib.sha256()
    for package in ("capi_llm.steps", "capi_llm.sandbox"):  # what makes the objects
        digest.update(resources.files(package).joinpath("components.py").read_bytes())
    for file in FILES.values():
        digest.update(content(folder / file))
    digest.update(repr(said).encode())
    return digest.hexdigest()


def substitute(text: str, values: Mapping[str, str]) -> str:
    """``text`` with ``${NAME:=default}`` filled in, as clusterctl does; ``$$`` is a ``$``."""

    def fill(match: re.Match[str]) -> str:
        value = values.get(match[1], match[2])
        if value is None:
            raise CapiLlmError(f"Cluster API's manifests ask for {match[1]}, which has no value")
        return value

    return "$".join(_VARIABLE.sub(fill, part) for part in text.split("$$"))


def read(path: Path) -> Sequence[Mapping[str, Any]]:
    """The objects of one file, variables filled in. They are shared: not to be changed."""
    return _parsed(path, os.stat(path).st_mtime_ns if path.exists() else 0)


@functools.cache  # several steps look, and reading takes 0.4 s
def _parsed(path: Path, changed: int) -> Sequence[Mapping[str, Any]]:
    try:
        text = substitute(content(path).decode(), VARIABLES)
        return [item for item in documents.manifests(text) if item]
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise unreadable(path, error) from error


def variables(text: str) -> set[str]:
    """The variables that ``text`` asks for without a default.

    Raises BadInput where it has a form of them that :func:`substitute` does not fill in.
    """
    parts = text.split("$$")
    other = next((part for part in parts if "${" in _VARIABLE.sub("", part)), None)
    if other is not None:
        rest = _VARIABLE.sub("", other)
        at = rest.index("${")
        raise BadInput(
            f"manifests have a variable of a form that is not known: {rest[at : at + 40].splitlines()[0]!r}",
            why="NAME, NAME:=default and NAME:-default in ${…} are filled in",
            fix="write the value into the file in its place",
        )
    return {match[1] for part in parts for match in _VARIABLE.finditer(part) if match[2] is None}


def with_authority(item: Object, authority: str) -> bool:
    """Make the webhooks of ``item`` be called with ``authority`` (PEM) in place of one that cert-manager
    writes; false where ``item`` is cert-manager's own and of no use then."""
    if item["kind"] in _CERT_MANAGER:
        return False
    without_injection(item)
    for client in client_configs(item):
        client["caBundle"] = base64.b64encode(authority.encode()).decode()
    return True


def _run(item: Object, image: str) -> None:
    for container in item["spec"]["template"]["spec"]["containers"]:
        container["image"] = image
        container["imagePullPolicy"] = "IfNotPresent"
