"""Shipped classes are whole and alike; a spec is checked against a class before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from capi_llm.clusters import classes
from capi_llm.clusters.classes import ClassFolder, ClassInfo
from capi_llm.clusters.spec import ClusterSpec, from_flags, merge
from capi_llm.errors import BadInput, NotFound

DOCKER, IN_MEMORY = "docker-llm-clusterclass", "in-memory-llm-clusterclass"
KWOK = "kwok-llm-clusterclass"


def folder(name: str) -> ClassFolder:
    found = classes.shipped_class(name)
    assert found is not None
    return found


def info(name: str = DOCKER) -> ClassInfo:
    return classes.describe_folder(folder(name))


def checked(**flags: object) -> ClusterSpec:
    spec = merge(None, from_flags(name="demo", **flags), default_class=DOCKER)  # type: ignore[arg-type]
    return classes.check(spec, info())


def test_shipped() -> None:
    assert [item.name for item in classes.shipped()] == [DOCKER, IN_MEMORY, KWOK]
    assert all(item.readme.startswith(f"# {item.name}") for item in classes.shipped())
    assert classes.shipped_class(f"team/{DOCKER}") == folder(DOCKER)
    assert classes.shipped_class("none") is None


def test_described() -> None:
    docker = info()
    assert (docker.infrastructure, docker.control_plane) == (
        "DockerClusterTemplate",
        "KubeadmControlPlaneTemplate",
    )
    assert docker.worker_classes == ("default-worker", "gpu-worker")
    assert docker.status is None
    cni = docker.variable("cni")
    assert cni is not None
    assert (cni.type, cni.default, cni.required) == ("string", "calico", False)
    assert all(variable.description and variable.default is not None for variable in docker.variables)
    assert info(IN_MEMORY).infrastructure == "DevClusterTemplate"


def test_one_file_of_values_fits_all_classes() -> None:
    def schemas(name: str) -> dict[str, object]:
        def bare(value: object) -> object:
            if isinstance(value, dict):
                return {key: bare(item) for key, item in value.items() if key != "description"}
            return value

        return {variable.name: bare(variable.schema) for variable in info(name).variables}

    assert schemas(DOCKER) == schemas(IN_MEMORY)
    assert schemas(DOCKER).items() < schemas(KWOK).items()
    assert info(DOCKER).worker_classes == info(IN_MEMORY).worker_classes == info(KWOK).worker_classes


def test_patches_match_worker_classes_that_exist() -> None:
    for item in classes.shipped():
        (cluster_class,) = [obj for obj in item.objects if obj["kind"] == "ClusterClass"]
        known = set(classes.describe(cluster_class).worker_classes)
        kinds = {obj["kind"] for obj in item.objects}
        for patch in cluster_class["spec"]["patches"]:
            for definition in patch["definitions"]:
                selector = definition["selector"]
                assert selector["kind"] in kinds
                matched = selector["matchResources"].get("machineDeploymentClass", {}).get("names", [])
                assert set(matched) <= known


def test_values_get_the_types_of_the_class() -> None:
    spec = checked(
        variables=[
            "nodeLabels.zone=1",
            "nodeLabels.on=true",
            "gpuDevices=true",
            "preLoadImages=[a, b]",
            "etcdImageTag=3",
        ]
    )
    assert spec.variables == {
        "nodeLabels": {"zone": "1", "on": "true"},
        "gpuDevices": True,
        "preLoadImages": ["a", "b"],
        "etcdImageTag": "3",
    }


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ({"variables": ["nodeLabel=x"]}, "did you mean 'nodeLabels'"),
        ({"variables": ["gpuDevices=yes"]}, "not of type boolean"),
        ({"variables": ["gpuDevices=1"]}, "not of type boolean"),
        ({"variables": ["preLoadImages=a"]}, "not of type array"),
        ({"variables": ["podSecurityStandard.enable=true"]}, "did you mean 'enabled'"),
        ({"variables": ["podSecurityStandard.enforce=baselin"]}, "did you mean 'baseline'"),
        ({"variables": ["nodeTaints=[{key: a, effect: NoSchedul}]"]}, "did you mean 'NoSchedule'"),
        ({"pools": ["gpu=0..2:gpu"]}, "known are default-worker, gpu-worker"),
        ({"pools": ["gpu=0..2:gpu-workers"]}, "did you mean 'gpu-worker'"),
    ],
)
def test_what_the_class_lacks_is_refused(flags: dict, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        checked(**flags)


def write(path: Path, *objects: dict) -> Path:
    (path / "class.yaml").write_text(yaml.safe_dump_all(objects))
    return path


def cluster_class(**spec: object) -> dict:
    return {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "ClusterClass",
        "metadata": {"name": "own"},
        "spec": {"infrastructure": {"ref": {"kind": "DockerClusterTemplate", "name": "own"}}, **spec},
    }


TEMPLATE = {"apiVersion": "x/v1", "kind": "DockerClusterTemplate", "metadata": {"name": "own"}, "spec": {}}


def test_class_of_a_folder(tmp_path: Path) -> None:
    loaded = classes.load_dir(write(tmp_path, TEMPLATE, cluster_class()))
    assert (loaded.name, len(loaded.objects)) == ("own", 2)
    required = cluster_class(
        variables=[{"name": "must", "required": True, "schema": {"openAPIV3Schema": {}}}]
    )
    spec = ClusterSpec("demo", pools=())
    with pytest.raises(BadInput, match="--set must=VALUE"):
        classes.check(spec, classes.describe_folder(classes.load_dir(write(tmp_path, TEMPLATE, required))))


@pytest.mark.parametrize(
    ("objects", "hint"),
    [
        ((TEMPLATE,), "it holds none"),
        ((cluster_class(), cluster_class()), "it holds 2"),
        ((cluster_class(),), "DockerClusterTemplate own"),
        (({"kind": "X"},), "not a Kubernetes object"),
    ],
)
def test_folders_that_hold_no_whole_class(tmp_path: Path, objects: tuple, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        classes.load_dir(write(tmp_path, *objects))


def test_folders_that_are_not_there_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        classes.load_dir(tmp_path / "none")
    (tmp_path / "class.yaml").write_text("a: [")
    with pytest.raises(BadInput, match="not YAML"):
        classes.load_dir(tmp_path)
