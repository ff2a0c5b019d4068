"""Cluster API's own manifests, changed so that they serve processes instead of pods.

Kept: Namespaces, CRDs, RBAC, ServiceAccounts and webhook configurations. Webhooks and
CRD conversions call ``https://127.0.0.1:PORT/path`` with the sandbox's authority instead
of a Service. Left out: Deployments and Services (processes stand in for them),
Certificates and Issuers (the sandbox's own authority stands in for cert-manager).
Role bindings of a manager's ServiceAccount also bind the user of its certificate.
"""

from __future__ import annotations

import base64
import copy
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from capi_llm import documents
from capi_llm.errors import CapiLlmError
from capi_llm.sandbox import pki
from capi_llm.sandbox.parts import LOOPBACK

FILES = {
    "capi-core": "core.yaml",
    "capi-bootstrap": "bootstrap.yaml",
    "capi-control-plane": "control-plane.yaml",
    "capi-docker": "docker.yaml",
}
"""Manager → its file in the ``capi-components`` folder."""

_LEFT_OUT = {"Deployment", "Service", "Certificate", "Issuer"}
_INJECT = "cert-manager.io/inject-ca-from"


def load(folder: Path, ports: Mapping[str, int], authority: str) -> list[dict[str, Any]]:
    """Every object of the four providers, ready to apply. ``authority`` is PEM."""
    objects: list[dict[str, Any]] = []
    for manager, file in FILES.items():
        port = ports[f"{manager}-webhook"]
        user = pki.manager_user(manager)
        objects += [to_processes(item, port, authority, user) for item in _read(folder / file)]
    return objects


def fingerprint(folder: Path, ports: Mapping[str, int], authority: str) -> str:
    """A word that stands for what :func:`load` returns, found without reading 2 MB of YAML.

    It is made of all that the objects are made of: the files, the arguments, and this module.
    """
    digest = hashlib.sha256(resources.files("capi_llm.sandbox").joinpath("components.py").read_bytes())
    for manager, file in FILES.items():
        digest.update(f"{manager} {pki.manager_user(manager)} {ports[f'{manager}-webhook']}\n".encode())
        digest.update(content(folder / file))
    digest.update(f"{LOOPBACK} {authority}".encode())
    return digest.hexdigest()


def to_processes(item: Mapping[str, Any], port: int, authority: str, user: str) -> dict[str, Any]:
    """One object with its webhooks pointed at ``port`` on loopback and its roles bound to ``user``. Pure."""
    changed = ours(item)
    without_injection(changed)
    subjects = changed.get("subjects") or []
    if any(subject["kind"] == "ServiceAccount" for subject in subjects):
        subjects.append({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user})
    for client in client_configs(changed):
        service = client.pop("service", None)
        if service is not None:
            client["url"] = f"https://{LOOPBACK}:{port}{service.get('path', '/')}"
            client["caBundle"] = base64.b64encode(authority.encode()).decode()
    return changed


def ours(item: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``item``, to be changed, without what is not ours to say."""
    changed = copy.deepcopy(dict(item))
    if "aggregationRule" in changed:
        changed.pop("rules", None)  # filled in by kube-controller-manager
    return changed


def without_injection(item: dict[str, Any]) -> None:
    """Take out of ``item`` that cert-manager is to write the authority of its webhooks."""
    annotations = item.get("metadata", {}).get("annotations")
    if annotations and annotations.pop(_INJECT, None) and not annotations:
        del item["metadata"]["annotations"]


def client_configs(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """How the webhooks of ``item`` are called: of a CRD's conversion, or of a webhook configuration."""
    if item["kind"] == "CustomResourceDefinition":
        client = item["spec"].get("conversion", {}).get("webhook", {}).get("clientConfig")
        if client is not None:
            yield client
    for webhook in item.get("webhooks", ()):
        yield webhook["clientConfig"]


@functools.cache  # a bootstrap looks three times, and reading takes 0.4 s
def _read(path: Path) -> Iterable[dict[str, Any]]:
    try:
        found = documents.manifests(content(path).decode())
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise unreadable(path, error) from error
    return [item for item in found if item and item["kind"] not in _LEFT_OUT]


def content(path: Path) -> bytes:
    """What is in one file of the part. Raises CapiLlmError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> CapiLlmError:
    """The error for a file of the part that can not be used."""
    return CapiLlmError(
        "Cluster API's manifests can not be read",
        on=str(path),
        why=str(error),
        fix="capi-llm sandbox prepare --verify",
    )
