"""The executables, built from Go modules by the product's own builder.

go.mod and go.sum of each graph lie under go/. The managers of Cluster API are built again, because
those of the sandbox are changed to listen on loopback only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from capi_llm import versions
from capi_llm.tools import toolchain
from capi_llm.tools.attempts import Progress
from capi_llm.tools.catalogue import CATALOGUE as PRODUCT
from capi_llm.tools.catalogue import SANDBOX
from capi_llm.tools.parts import Change, Graph, Part, Source
from capi_llm.tools.prepare import prepare
from endtoend import names

GO = Path(__file__).parent / "go"
PROGRAMS = ("pause", "runtime", "kindnetd", "standin")
"""Ours, in go/programs."""
KUBERNETES = (
    "kubeadm",
    "kubelet",
    "kube-proxy",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
)
NODE = (*KUBERNETES, "kubectl")
CNI = {"host-local": "ipam", "loopback": "main", "ptp": "main", "portmap": "meta"}


_KUBEADM = Change(
    "k8s.io/kubernetes",
    "cmd/kubeadm/app/preflight/checks.go",
    "if len(testIP) == net.IPv6len {",
    "if testIP.To4() == nil {",
    "kubeadm 1.32 writes IPv4 addresses in brackets, which Go's net/url of today refuses; 1.33 does not",
)


def _stamps(version: str) -> dict[str, str]:
    major, minor, *_ = versions.parse(version)
    package = "k8s.io/component-base/version"
    return {
        f"{package}.gitVersion": version,
        f"{package}.gitMajor": str(major),
        f"{package}.gitMinor": str(minor),
        f"{package}.gitTreeState": "clean",
    }


def _catalogue() -> dict[str, Part]:
    current = Graph("kubernetes-1.32", GO / "kubernetes-1.32", SANDBOX.stamps)
    kubeadm = dataclasses.replace(current, name="kubeadm-1.32", changes=(_KUBEADM,))
    newer = Graph("kubernetes-1.33", GO / "kubernetes-1.33", _stamps(names.UPGRADE))
    coredns, cni, local_path = (Graph(name, GO / name) for name in ("coredns", "cni", "local-path"))
    capi, capd = "sigs.k8s.io/cluster-api", "sigs.k8s.io/cluster-api/test"
    rows: list[tuple[str, str, Graph, str, str]] = [
        ("etcd", versions.ETCD, current, "go.etcd.io/etcd/server/v3", ""),
        ("capi-core", names.CAPI, current, capi, ""),
        ("capi-bootstrap", names.CAPI, current, capi, "bootstrap/kubeadm"),
        ("capi-control-plane", names.CAPI, current, capi, "controlplane/kubeadm"),
        ("capi-docker", names.CAPI, current, capd, "infrastructure/docker"),
        ("coredns", names.COREDNS_BUILT, coredns, "github.com/coredns/coredns", ""),
        (
            "local-path-provisioner",
            names.LOCAL_PATH,
            local_path,
            "github.com/rancher/local-path-provisioner",
            "",
        ),
    ]
    rows += [
        (name, names.CNI_PLUGINS, cni, "github.com/containernetworking/plugins", f"plugins/{kind_}/{name}")
        for name, kind_ in CNI.items()
    ]
    for graph, version in ((current, names.KUBERNETES), (newer, names.UPGRADE)):
        rows += [
            (kubernetes(name, version), version, graph, "k8s.io/kubernetes", f"cmd/{name}") for name in NODE
        ]
    rows = [(*row[:2], kubeadm, *row[3:]) if row[0] == "kubeadm" else row for row in rows]
    return {
        name: Part(name, version, {}, {name: Source(graph, module, path)})
        for name, version, graph, module, path in rows
    }


def kubernetes(name: str, version: str) -> str:
    """The part's name of one of Kubernetes' executables: with the version where it is not the usual one."""
    return name if version == names.KUBERNETES else f"{name}-{version}"


CATALOGUE = _catalogue()


def build(wanted: Iterable[str], cache: Path, progress: Progress) -> Mapping[str, Path]:
    """Have the executables ``wanted`` of the catalogue; returns where each is."""
    return prepare(list(wanted), cache_dir=cache, catalogue=CATALOGUE, sources=("build",), progress=progress)


def product(cache: Path, progress: Progress) -> Mapping[str, Path]:
    """Have what a plane of kind `kind` brings, in the product's own cache: there is no network later."""
    return prepare(["kind", "kubectl", "helm", "capi-components"], cache_dir=cache, progress=progress)


def kind_module() -> Source:
    """kind's module, which has the files of its node image."""
    (source,) = PRODUCT["kind"].sources.values()
    return source


def programs(cache: Path, say: Callable[[str], None]) -> Mapping[str, Path]:
    """Have our own programs; returns where each is."""
    source = GO / "programs"
    texts = {str(path.relative_to(source)): path.read_text() for path in sorted(source.rglob("*.*"))}
    key = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
    folder = cache / "programs" / key
    if not folder.is_dir():
        say("building the programs of the run")
        go = toolchain.find(cache / "go", progress=lambda *_: None, cancel=None, offline=False)
        new = folder.with_name(f".{key}")
        new.mkdir(parents=True, exist_ok=True)
        command = [str(go.program), "build", "-trimpath", "-ldflags=-s -w", "-o", f"{new}/", "./..."]
        subprocess.run(command, cwd=source, env=go.environment(offline=True), check=True)
        new.rename(folder)
    return {name: folder / name for name in PROGRAMS}
