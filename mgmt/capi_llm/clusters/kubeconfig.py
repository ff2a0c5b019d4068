"""The kubeconfig of a workload cluster: fetched from its Secret, saved for people."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from capi_llm.errors import CapiLlmError, NotFound
from capi_llm.kube import kubeconfig as files
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, SECRETS, Ref


def fetch(api: Api, name: str, namespace: str = "default") -> str:
    """The kubeconfig as text. Raises NotFound where there is no such cluster, or none of it yet."""
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
    return text


def path(name: str, directory: Path) -> Path:
    """Where the kubeconfig of cluster ``name`` is saved."""
    return directory / f"kubeconfig-{name}.yaml"


def save(text: str, name: str, directory: Path) -> Path:
    """Write the kubeconfig atomically, readable by nobody else, and return where."""
    target = path(name, directory)
    files.write(target, text)
    return target


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
    names = ", ".join(f"{ref.namespace}/{ref.name}" for ref in known)
    elsewhere = next((ref for ref in known if ref.name == name), None)
    return NotFound(
        f"there is no cluster {name!r} in namespace {namespace!r}",
        why=f"there are {names}" if known else "there are none",
        fix=f"-n {elsewhere.namespace}" if elsewhere else "" if known else f"capi-llm new-cluster {name}",
    )
