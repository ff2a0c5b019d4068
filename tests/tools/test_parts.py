"""The catalogue: complete, pinned, and in agreement with the modules it ships."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import urlsplit

import pytest

from capi_llm import versions
from capi_llm.tools.catalogue import CATALOGUE, HELM, KWOK, SANDBOX
from capi_llm.tools.gobuild import Target
from capi_llm.tools.parts import Part, Platform, address

PLATFORMS = [Platform(os, arch) for os in ("linux", "darwin") for arch in ("amd64", "arm64")]
NAMES = [
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "helm",
    "clusterctl", "capi-core", "capi-bootstrap", "capi-control-plane", "capi-docker", "capi-components",
    "kind",
]  # fmt: skip


def required(text: str) -> dict[str, str]:
    """Module to version, as replaced."""
    found = dict(re.findall(r"^(?:require )?\t?([\w./-]+) (v\S+)", text, re.MULTILINE))
    return found | dict(re.findall(r"=> ([\w./-]+) (v\S+)", text))


def test_names() -> None:
    assert list(CATALOGUE) == NAMES
    assert CATALOGUE["capi-components"].files == (
        "bootstrap.yaml", "control-plane.yaml", "core.yaml", "docker.yaml",
    )  # fmt: skip


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", NAMES)
def test_addresses(name: str, platform: Platform) -> None:
    part = CATALOGUE[name]
    for release in part.releases.values():
        for template in filter(None, (release.url, release.checksums)):
            url = address(template, part, platform)
            assert urlsplit(url).scheme == "https"
            assert "{" not in url
            assert part.version in url or release.checksums == template


def test_one_address_in_full() -> None:
    etcd = CATALOGUE["etcd"]
    assert address(etcd.releases["etcd"].url, etcd, Platform("darwin", "arm64")) == (
        "https://github.com/etcd-io/etcd/releases/download/v3.5.21/etcd-v3.5.21-darwin-arm64.zip"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_part_can_be_built(name: str) -> None:
    part = CATALOGUE[name]
    assert set(part.sources) == set(part.files)
    for source in part.sources.values():
        assert source.module in required(source.graph.texts()["go.mod"])
        assert source.module in source.graph.texts()["go.sum"]


def test_pins_agree() -> None:
    sandbox = required(SANDBOX.texts()["go.mod"])
    assert sandbox["k8s.io/kubernetes"] == versions.KUBERNETES
    staging = versions.KUBERNETES.replace("v1.", "v0.")
    assert {sandbox["k8s.io/api"], sandbox["k8s.io/apiserver"], sandbox["k8s.io/client-go"]} == {staging}
    assert sandbox["go.etcd.io/etcd/server/v3"] == versions.ETCD
    assert sandbox["sigs.k8s.io/cluster-api"] == versions.CLUSTER_API
    assert sandbox["sigs.k8s.io/cluster-api/test"] == versions.CLUSTER_API
    assert required(KWOK.texts()["go.mod"])["sigs.k8s.io/kwok"] == versions.KWOK
    helm = required(HELM.texts()["go.mod"])
    assert helm["helm.sh/helm/v3"] == versions.HELM
    # What the two builds share is compiled once.
    assert helm["k8s.io/client-go"] == staging
    assert {path for path in helm.keys() & sandbox.keys() if helm[path] != sandbox[path]} == {
        "github.com/asaskevich/govalidator", "github.com/containerd/errdefs",
        "github.com/cyphar/filepath-securejoin",
    }  # fmt: skip


@pytest.mark.parametrize("graph", [SANDBOX, KWOK, HELM], ids=lambda graph: graph.name)
def test_go_is_new_enough(graph) -> None:
    match = re.search(r"^go (\d+)\.(\d+)", graph.texts()["go.mod"], re.MULTILINE)
    assert match is not None
    assert (int(match[1]), int(match[2])) <= versions.GO_MINIMUM


def test_api_server_says_its_version() -> None:
    # Cluster API refuses one that says v0.0.0-master.
    assert "-X k8s.io/component-base/version.gitVersion=v1.32.2" in SANDBOX.ldflags
    assert "-X k8s.io/component-base/version.gitMinor=32" in SANDBOX.ldflags


def test_helm_knows_kubernetes() -> None:
    # Charts that are rendered without a cluster ask for it.
    assert "-X helm.sh/helm/v3/internal/version.version=v3.17.4" in HELM.ldflags
    assert "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=32" in HELM.ldflags


def test_keys_tell_contents_apart() -> None:
    keys = {part.key(platform) for part in CATALOGUE.values() for platform in PLATFORMS}
    assert len(keys) == len(CATALOGUE) * len(PLATFORMS)
    etcd = CATALOGUE["etcd"]
    assert etcd.key(PLATFORMS[0]) == dataclasses.replace(etcd).key(PLATFORMS[0])
    assert etcd.key(PLATFORMS[0]).startswith("v3.5.21-")


def test_names_of_executables() -> None:
    built_as = {
        name: Target(name, part.sources[name].package).built_as
        for name, part in CATALOGUE.items()
        if not part.folder
    }
    assert built_as["etcd"] == "server"
    assert built_as["capi-core"] == "cluster-api"
    assert built_as["capi-bootstrap"] == built_as["capi-control-plane"] == "kubeadm"


def test_a_change_to_a_module_is_another_content() -> None:
    part = CATALOGUE["capi-core"]
    plain = dataclasses.replace(part.sources["capi-core"], graph=dataclasses.replace(SANDBOX, changes=()))
    unchanged = dataclasses.replace(part, sources={"capi-core": plain})
    assert unchanged.key(PLATFORMS[0]) != part.key(PLATFORMS[0])


def test_needs_are_parts() -> None:
    for part in CATALOGUE.values():
        assert isinstance(part, Part)
        assert set(part.needs) <= set(CATALOGUE)
