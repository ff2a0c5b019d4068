"""The catalogue of parts: what they are, and where they may come from.

In addresses ``{version}``, ``{os}`` and ``{arch}`` stand for the pin and the platform.
Cluster API publishes its managers as container images only, so without a container
engine they are built. Its components are `kustomize build config/default` of each
provider's module, in the release as here
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/Makefile, target release-manifests).
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping

from capi_llm import versions
from capi_llm.tools.parts import Change, Graph, Part, Release, Source


def _graph(name: str, stamps: Mapping[str, str], changes: tuple[Change, ...] = ()) -> Graph:
    return Graph(name, importlib.resources.files("capi_llm.tools") / "go" / name, stamps, changes)


def _stamps(package: str, version: str) -> dict[str, str]:
    # Cluster API refuses an API server whose version is not a release's.
    major, minor, *_ = versions.parse(version)
    return {
        f"{package}.gitVersion": version,
        f"{package}.gitMajor": str(major),
        f"{package}.gitMinor": str(minor),
        f"{package}.gitTreeState": "clean",
    }


def _helm_stamps() -> dict[str, str]:
    """As its Makefile does; charts ask for the version of Kubernetes where no cluster says it."""
    major, minor, *_ = versions.parse(versions.KUBERNETES)
    kubernetes = {
        f"helm.sh/helm/v3/pkg/{package}.k8sVersion{name}": str(number)
        for package in ("chartutil", "lint/rules")
        for name, number in (("Major", major), ("Minor", minor))
    }
    return {
        "helm.sh/helm/v3/internal/version.version": versions.HELM,
        "helm.sh/helm/v3/internal/version.gitTreeState": "clean",
        **kubernetes,
    }


_CHANGES = (
    Change(
        "sigs.k8s.io/controller-runtime",
        "pkg/webhook/server.go",
        "func (o *Options) setDefaults() {\n",
        'func (o *Options) setDefaults() {\n\tif o.Host == "" {\n\t\to.Host = "127.0.0.1"\n\t}\n',
        "webhook servers listen on every address, and Cluster API 1.10 has no flag for it",
    ),
    Change(
        "sigs.k8s.io/cluster-api/test",
        "infrastructure/inmemory/pkg/server/mux.go",
        'net.Listen("tcp", fmt.Sprintf(":%d", wcl.Port()))',
        'net.Listen("tcp", wcl.HostPort())',
        "in-memory API servers listen on every address, so that two sandboxes would collide",
    ),
    Change(
        "sigs.k8s.io/cluster-api",
        "controllers/clustercache/cluster_cache.go",
        "ConnectionCreationRetryInterval: 30 * time.Second,",
        "ConnectionCreationRetryInterval: 1 * time.Second,",
        "simulated machines start in seconds; after one failed try a new cluster would wait half a minute",
    ),
)

SANDBOX = _graph(
    "sandbox",
    _stamps("k8s.io/component-base/version", versions.KUBERNETES)
    | _stamps("sigs.k8s.io/cluster-api/version", versions.CLUSTER_API),
    _CHANGES,
)
KWOK = _graph("kwok", {"sigs.k8s.io/kwok/pkg/consts.Version": versions.KWOK})
# Neither is in the sandbox's graph: they would move some of its modules.
KIND = _graph("kind", {})
HELM = _graph("helm", _helm_stamps())

_CAPI = "sigs.k8s.io/cluster-api"
_CAPI_TEST = "sigs.k8s.io/cluster-api/test"
_GITHUB = "https://github.com/{repo}/releases/download/{{version}}/"
_ETCD_FILES = _GITHUB.format(repo="etcd-io/etcd")
_KWOK_FILES = _GITHUB.format(repo="kubernetes-sigs/kwok")
_HELM_FILE = "https://get.helm.sh/helm-{version}-{os}-{arch}.tar.gz"
_KIND_FILE = _GITHUB.format(repo="kubernetes-sigs/kind") + "kind-{os}-{arch}"
_CAPI_FILES = _GITHUB.format(repo="kubernetes-sigs/cluster-api")
_K8S_FILES = "https://dl.k8s.io/release/{version}/bin/{os}/{arch}/"


def _one(name: str, version: str, release: Release | None, source: Source) -> Part:
    return Part(name, version, {name: release} if release else {}, {name: source})


def _kubernetes(name: str, *systems: str) -> Part:
    url = _K8S_FILES + name
    release = Release(url, checksums=url + ".sha256", systems=systems)
    return _one(name, versions.KUBERNETES, release, Source(SANDBOX, "k8s.io/kubernetes", f"cmd/{name}"))


def _capi(name: str, module: str, path: str) -> Part:
    return _one(name, versions.CLUSTER_API, None, Source(SANDBOX, module, path))


CATALOGUE: Mapping[str, Part] = {
    part.name: part
    for part in (
        _one(
            "etcd",
            versions.ETCD,
            Release(
                _ETCD_FILES + "etcd-{version}-{os}-{arch}.{archive}",
                checksums=_ETCD_FILES + "SHA256SUMS",
                member="etcd-{version}-{os}-{arch}/etcd",
            ),
            Source(SANDBOX, "go.etcd.io/etcd/server/v3"),
        ),
        _kubernetes("kube-apiserver", "linux"),
        _kubernetes("kube-controller-manager", "linux"),
        _kubernetes("kube-scheduler", "linux"),
        _kubernetes("kubectl", "linux", "darwin"),
        _one(
            "kwok",
            versions.KWOK,
            Release(_KWOK_FILES + "kwok-{os}-{arch}"),
            Source(KWOK, "sigs.k8s.io/kwok", "cmd/kwok"),
        ),
        _one(
            "helm",
            versions.HELM,
            Release(_HELM_FILE, checksums=_HELM_FILE + ".sha256sum", member="{os}-{arch}/helm"),
            Source(HELM, "helm.sh/helm/v3", "cmd/helm"),
        ),
        _one(
            "clusterctl",
            versions.CLUSTER_API,
            Release(_CAPI_FILES + "clusterctl-{os}-{arch}"),
            Source(SANDBOX, _CAPI, "cmd/clusterctl"),
        ),
        _capi("capi-core", _CAPI, ""),
        _capi("capi-bootstrap", _CAPI, "bootstrap/kubeadm"),
        _capi("capi-control-plane", _CAPI, "controlplane/kubeadm"),
        _capi("capi-docker", _CAPI_TEST, "infrastructure/docker"),
        Part(
            "capi-components",
            versions.CLUSTER_API,
            releases={
                "core.yaml": Release(_CAPI_FILES + "core-components.yaml"),
                "bootstrap.yaml": Release(_CAPI_FILES + "bootstrap-components.yaml"),
                "control-plane.yaml": Release(_CAPI_FILES + "control-plane-components.yaml"),
                "docker.yaml": Release(_CAPI_FILES + "infrastructure-components-development.yaml"),
            },
            sources={
                "core.yaml": Source(SANDBOX, _CAPI, "config/default"),
                "bootstrap.yaml": Source(SANDBOX, _CAPI, "bootstrap/kubeadm/config/default"),
                "control-plane.yaml": Source(SANDBOX, _CAPI, "controlplane/kubeadm/config/default"),
                "docker.yaml": Source(SANDBOX, _CAPI_TEST, "infrastructure/docker/config/default"),
            },
            folder=True,
            needs=("kubectl",),
        ),
        _one(
            "kind",
            versions.KIND,
            Release(_KIND_FILE, checksums=_KIND_FILE + ".sha256sum"),
            Source(KIND, "sigs.k8s.io/kind"),
        ),
    )
}

OF_SANDBOX = tuple(name for name in CATALOGUE if name != "kind")
"""The parts that every sandbox needs."""
