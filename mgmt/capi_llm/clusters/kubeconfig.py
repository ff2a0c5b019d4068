"""The kubeconfig of a workload cluster: fetched from its Secret, saved for people."""

from __future__ import annotations

import base64
import binascii
import difflib
from pathlib import Path

from capi_llm.clusters import published
from capi_llm.errors import CapiLlmError, NotFound
from capi_llm.kube import kubeconfig as files
from capi_llm.kube import merging, userfile
from capi_llm.kube.client import Api
from capi_llm.kube.merging import Mark
from capi_llm.kube.resources import CLUSTERS, SECRETS, Ref

_MOST_NAMES = 10
"""Clusters that an error names, those first whose names are nearest to what was asked for."""


def fetch(api: Api, name: str, namespace: str = "default") -> str:
    """The kubeconfig as text, with the server that this machine reaches.

    Raises NotFound where there is no such cluster, or none of it yet.
    """
    secret = api.find(Ref(SECRETS, f"{name}-kubeconfig", namespace))
    if secret is None:
        raise _missing(api, name, namespace)
    try:
        text = base64.b64decode(secret["data"]["value"], validate=True).decode()
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError) as error:
        # Not the error's text: it could quote the Secret.
        raise CapiLlmError(
            "the Secret with the kubeconfig holds none",
            on=str(Ref(SECRETS, f"{name}-kubeconfig", namespace)),
            why=f"its key 'value' can not be read ({type(error).__name__})",
        ) from None
    return published.for_host(api, name, namespace, text)


def label(name: str, namespace: str = "default") -> str:
    """What a cluster is called where its namespace is not said: ``demo``, or ``team-a.demo``.

    No two clusters of a plane are called the same: a namespace has no dot, and a name in
    namespace default that has one is said with its namespace.
    """
    return name if namespace == "default" and "." not in name else f"{namespace}.{name}"


def path(name: str, namespace: str, directory: Path) -> Path:
    """Where the kubeconfig of a cluster is saved."""
    return directory / f"kubeconfig-{label(name, namespace)}.yaml"


def save(text: str, name: str, namespace: str, directory: Path) -> Path:
    """Write the kubeconfig atomically, readable by nobody else, and return where."""
    target = path(name, namespace, directory)
    files.write(target, text)
    return target


def save_management(text: str, plane: str, directory: Path) -> Path:
    """The same for that of a plane, which no cluster's file is called like."""
    target = directory / f"management-{plane}.yaml"
    files.write(target, text)
    return target


def context_name(mark: Mark) -> str:
    """What our entries are called in a person's kubeconfig: ``demo@sandbox``, ``capi-llm-sandbox``."""
    return f"{label(mark.name, mark.namespace)}@{mark.plane}" if mark.name else f"capi-llm-{mark.plane}"


def merge(
    text: str, mark: Mark, into: Path, *, name: str = "", use: bool = False
) -> tuple[bool, Path | None]:
    """Put the kubeconfig ``text``, which leads to ``mark``, into the file ``into``, as context ``name``.

    Returns whether that changed the file, and where its backup is; see
    :func:`capi_llm.kube.userfile.change` for what it raises.
    """
    source = merging.read(text, "the cluster's kubeconfig")
    name = name or context_name(mark)
    return userfile.change(
        into,
        lambda config: merging.merge(config, source, name=name, mark=mark, use=use, where=str(into)),
    )


def _missing(api: Api, name: str, namespace: str) -> NotFound:
    clusters = api.list(CLUSTERS)
    if any(obj["metadata"]["name"] == name and obj["metadata"]["namespace"] == namespace for obj in clusters):
        return NotFound(
            f"cluster {name!r} has no kubeconfig yet",
            why="its control plane is not made yet",
            fix=f"capi-llm wait cluster {name}",
        )
    return unknown_cluster(
        name,
        namespace,
        [Ref(CLUSTERS, obj["metadata"]["name"], obj["metadata"]["namespace"]) for obj in clusters],
    )


def unknown_cluster(name: str, namespace: str, known: list[Ref]) -> NotFound:
    """The error for a cluster that is not there, with those that are."""
    close = difflib.get_close_matches(name, [ref.name for ref in known], len(known) or 1, 0)
    near = sorted(known, key=lambda ref: close.index(ref.name) if ref.name in close else len(close))
    names = ", ".join(f"{ref.namespace}/{ref.name}" for ref in near[:_MOST_NAMES])
    if len(near) > _MOST_NAMES:
        names += f" and {len(near) - _MOST_NAMES} more"
    elsewhere = next((ref for ref in known if ref.name == name), None)
    return NotFound(
        f"there is no cluster {name!r} in namespace {namespace!r}",
        why=f"there are {names}" if known else "there are none",
        fix=f"-n {elsewhere.namespace}" if elsewhere else "" if known else f"capi-llm new-cluster {name}",
    )
