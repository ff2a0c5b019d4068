"""Images: on the host, where Docker pulls them, and in a node, whose containerd is another store."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from capi_llm.containers.docker import ACT_SECONDS, Docker
from capi_llm.errors import CapiLlmError, CommandFailed

PULL_SECONDS = 1800.0
_FIXES = (
    ("toomanyrequests", "docker login, wait until the registry's limit is over, or set a registry mirror"),
    ("no such host", "check this machine's network and name servers"),
    ("timeout", "check this machine's network, or Docker's proxy settings"),
    ("proxyconnect", "correct Docker's proxy settings"),
    ("no space left", "docker system prune"),
    ("manifest unknown", "check the image's name and tag"),
    ("not found", "check the image's name and tag"),
    ("unauthorized", "docker login"),
    ("denied", "check the image's name, or docker login"),
)
_ARCHIVE = "/kind/capi-llm-images.tar"
"""In the node. Not in /tmp or /run, which are file systems in memory that ``docker cp`` does not reach."""


def full_name(name: str) -> str:
    """``name`` as containerd has it: ``redis`` is ``docker.io/library/redis:latest``.

    As in https://github.com/distribution/reference/blob/v0.6.0/normalize.go.
    """
    name, at, digest = name.partition("@")
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}"
    if not at and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    return name + at + digest


def absent(docker: Docker, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that the host does not have."""
    return [name for name in names if not has(docker, name)]


def has(docker: Docker, name: str) -> bool:
    """Whether the host has the image."""
    try:
        docker.run("image", "inspect", "--format", "{{.Id}}", name)
    except CommandFailed as error:
        if "no such image" in error.why.lower():
            return False
        raise
    return True


def pull(docker: Docker, name: str, on_line: Callable[[str], None] | None = None) -> None:
    """Have the image on the host. Raises CapiLlmError with the registry's own words."""
    try:
        docker.run("pull", name, timeout=PULL_SECONDS, on_line=on_line)
    except CommandFailed as error:
        why = error.why.strip().splitlines()[-1] if error.why.strip() else ""
        fix = next((fix for word, fix in _FIXES if word in why.lower()), "docker pull the image by hand")
        raise CapiLlmError("an image can not be pulled", on=name, why=why, fix=fix) from error


def in_node(docker: Docker, node: str) -> set[str]:
    """The full names of the images that a node's containerd has."""
    return set(docker.inside(node, "ctr", "--namespace=k8s.io", "images", "ls", "-q").split())


def load(docker: Docker, node: str, names: Iterable[str]) -> None:
    """Copy images of the host into a node's containerd, by one archive.

    Of this platform only: the host may have no other of an image that has several, for which
    ``kind load`` fails (https://github.com/kubernetes-sigs/kind/issues/3795).
    """
    snapshotter = _snapshotter(docker, node)
    with tempfile.TemporaryDirectory(prefix="capi-llm-") as folder:
        archive = Path(folder) / "images.tar"
        docker.run("save", "--output", archive, *names, timeout=PULL_SECONDS)
        docker.run("cp", archive, f"{node}:{_ARCHIVE}", timeout=PULL_SECONDS)
    try:
        docker.inside(
            node, "ctr", "--namespace=k8s.io", "images", "import", "--digests",
            f"--snapshotter={snapshotter}", _ARCHIVE, timeout=PULL_SECONDS,
        )  # fmt: skip
    finally:
        docker.inside(node, "rm", "-f", _ARCHIVE, timeout=ACT_SECONDS)


def _snapshotter(docker: Docker, node: str) -> str:
    """As kind finds it (getSnapshotter in pkg/cluster/nodeutils/util.go)."""
    config = docker.inside(node, "containerd", "config", "dump")
    found = re.findall(r'^\s*snapshotter = ["\'](\w[\w-]*)["\']', config, re.MULTILINE)
    return found[0] if found else "overlayfs"
