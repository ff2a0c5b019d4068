"""Kubeconfig files: made from their parts, written so that nobody else reads them."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from capi_llm import documents
from capi_llm.errors import BadInput
from capi_llm.files import write_private

Kubeconfig = dict[str, Any]


def build(
    server: str,
    *,
    name: str,
    ca: str = "",
    client_cert: str = "",
    client_key: str = "",
    token: str = "",
    namespace: str = "",
) -> Kubeconfig:
    """A kubeconfig with one cluster, user and context, all called ``name``.

    ``ca``, ``client_cert`` and ``client_key`` are PEM text. Log in by certificate or by token.
    """
    cluster: dict[str, str] = {"server": server}
    if ca:
        cluster["certificate-authority-data"] = _encoded(ca)
    user: dict[str, str] = {}
    if client_cert:
        user |= {"client-certificate-data": _encoded(client_cert), "client-key-data": _encoded(client_key)}
    if token:
        user["token"] = token
    context = {"cluster": name, "user": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }


def render(kubeconfig: Kubeconfig) -> str:
    """The kubeconfig as YAML."""
    return documents.written(kubeconfig)


def server_of(path: Path) -> str:
    """The server that the kubeconfig's first cluster names; "" where the file says none."""
    try:
        clusters = (yaml.safe_load(path.read_text()) or {}).get("clusters") or []
        return str(clusters[0]["cluster"]["server"])
    except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        return ""


def authority_of(path: Path, context: str) -> str:
    """The authority that ``context`` trusts, as PEM; empty where the file leaves it to the system."""
    config = yaml.safe_load(path.read_text())
    named = {entry["name"]: entry["context"] for entry in config.get("contexts") or []}
    wanted = (named.get(context or str(config.get("current-context"))) or {}).get("cluster")
    for entry in config.get("clusters") or []:
        if entry["name"] == wanted:
            cluster = entry["cluster"]
            if data := cluster.get("certificate-authority-data"):
                return str(base64.b64decode(data).decode())
            if file := cluster.get("certificate-authority"):
                return (path.parent / str(file)).read_text()
    return ""


def contexts_of(path: Path) -> tuple[list[str], str]:
    """The names of the file's contexts, and of its current one. Raises BadInput where it can not be read."""
    try:
        data = yaml.safe_load(path.read_text()) or {}
        names = [str(item["name"]) for item in data.get("contexts") or []]
        return names, str(data.get("current-context") or "")
    except OSError as error:
        why = error.strerror or str(error)
    except (yaml.YAMLError, UnicodeDecodeError):
        why = "it is not YAML"  # the parser's own words quote lines of the file, keys among them
    except (LookupError, TypeError, AttributeError):
        why = "it is not a kubeconfig"
    raise BadInput("the kubeconfig can not be used", on=str(path), why=why)


def write(path: Path, text: str) -> None:
    """Write atomically with mode 0600: readers see the old file or the new one. Raises CapiLlmError."""
    write_private(path, text)


@contextlib.contextmanager
def held(text: str) -> Iterator[Path]:
    """A path at which this process, and no other, reads ``text`` while the block runs.

    On Linux it is a file in memory: it is gone with the process, however that ends. Elsewhere it is a
    temporary file of mode 0600.
    """
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("kubeconfig"), "w") as file:
            file.write(text)
            file.flush()
            yield Path(f"/proc/self/fd/{file.fileno()}")
        return
    with tempfile.TemporaryDirectory(prefix="capi-llm-") as folder:
        path = Path(folder) / "kubeconfig"
        write(path, text)
        yield path


def _encoded(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()
