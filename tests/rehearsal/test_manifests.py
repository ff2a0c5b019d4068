"""Files, and a change laid over a world as kubectl apply would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from capi_llm.clusters import topology
from capi_llm.errors import BadInput, NotFound
from capi_llm.kube.resources import Object
from capi_llm.rehearsal import manifests, world
from capi_llm.rehearsal.world import Key, PoolKey
from worlds import pool, small_class, small_cluster

C = Key("cluster.x-k8s.io", "Cluster", "n", "c")


def changed(old: Object, new: Object) -> Object:
    return manifests.change(world.of([old]), [new]).objects[C]


def cluster(**topology: object) -> Object:
    obj = small_cluster("n")
    obj["spec"] = {"topology": topology}
    return obj


def test_maps_are_merged_and_lists_replaced() -> None:
    old = small_cluster("n", variables=[{"name": "a", "value": 1}, {"name": "b", "value": 2}])
    spec = changed(old, cluster(variables=[{"name": "a", "value": 3}]))["spec"]["topology"]
    assert spec["variables"] == [{"name": "a", "value": 3}]
    assert (spec["class"], spec["version"]) == ("small", "v1.32.0")


def test_what_the_last_apply_said_and_the_file_does_not_is_removed() -> None:
    old = small_cluster("n", variables=[{"name": "a", "value": 1}])
    last = {"metadata": {"labels": {}}, "spec": {"topology": {"variables": [], "class": "small"}}}
    old["metadata"]["annotations"] = {manifests.LAST_APPLIED: json.dumps(last)}
    topology = changed(old, cluster(**{"class": "small"}))["spec"]["topology"]
    assert "variables" not in topology
    assert topology["version"] == "v1.32.0"


def test_null_removes() -> None:
    old = small_cluster("n", variables=[])
    assert "variables" not in changed(old, cluster(variables=None))["spec"]["topology"]


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 3}}, {"a": None, "b": {"c": 3, "d": None}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
    ],
)
def test_the_patch_between_two_objects(old: Object, new: Object, patch: Object) -> None:
    assert world.difference(old, new) == patch


def test_a_change_reaches_the_clusters_of_a_class_whose_template_changed() -> None:
    before = world.of([*small_class("n"), small_cluster("n"), *small_class("m"), small_cluster("m")])
    after = manifests.change(before, [small_class("n", config={"x": 1})[3]])
    assert world.touched(before, after) == [C]


def test_a_spec_file_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    spread = small_cluster("n", pools=[pool("md-0", span=(1, 3)), pool("more", 2)])
    spread["spec"]["clusterNetwork"]["pods"]["cidrBlocks"] = ["10.1.0.0/16"]
    before = world.of([spread])
    file = tmp_path / "spec.yaml"
    file.write_text(
        "apiVersion: capi-llm.dev/v1alpha1\nkind: ClusterSpec\nname: c\nnamespace: n\nversion: v1.33.0\n"
    )
    (obj,) = manifests.read([file], base=before)
    after = manifests.change(before, [obj]).objects[C]
    assert after["spec"]["topology"]["version"] == "v1.33.0"
    assert after["spec"]["clusterNetwork"]["pods"]["cidrBlocks"] == ["10.1.0.0/16"]
    assert [entry["name"] for entry in world.pools_of(after)] == ["md-0", "more"]
    assert after["spec"]["topology"]["class"] == "small"


def test_a_spec_file_that_says_only_workers_leaves_the_other_pools(tmp_path: Path) -> None:
    before = world.of([small_cluster("n", pools=[pool("md-0", span=(1, 3)), pool("more", 2)])])
    file = tmp_path / "spec.yaml"
    file.write_text(
        "apiVersion: capi-llm.dev/v1alpha1\nkind: ClusterSpec\nname: c\nnamespace: n\nworkers: 2..5\n"
    )
    (obj,) = manifests.read([file], base=before)
    assert [entry["name"] for entry in world.pools_of(obj)] == ["md-0", "more"]
    have = topology.pool_of(world.pools_of(obj)[0])
    assert (have.minimum, have.maximum) == (2, 5)


def test_what_names_no_namespace_is_in_the_one_of_the_command(tmp_path: Path) -> None:
    obj = small_cluster("n")
    del obj["metadata"]["namespace"]
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump_all([obj, small_cluster("n")]))
    found = manifests.read([file], namespace="team")
    assert [item["metadata"]["namespace"] for item in found] == ["team", "n"]


def test_folders_lists_and_several_documents_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all(small_class("n")))
    (tmp_path / "b.json").write_text(json.dumps({"kind": "List", "items": [small_cluster("n")]}))
    (tmp_path / "README.md").write_text("not read")
    assert len(manifests.read([tmp_path])) == 6


@pytest.mark.parametrize("text", ["a: [", "- 1", "kind: X", ""])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(BadInput):
        manifests.read([file])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        manifests.read([tmp_path / "x.yaml"])


def test_an_object_that_comes_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="twice"):
        world.of([small_cluster("n"), small_cluster("n")])


def test_machines_are_counted_as_the_topology_the_plane_or_the_range_says() -> None:
    pools = [pool("a", 2), pool("b", span=(3, 9)), pool("c", span=(0, 9))]
    objects = world.of([small_cluster("n", pools=pools)]).objects
    found = world.World(objects, {PoolKey("n", "c", "c"): 4})
    assert world.size(found, objects[C]) == 1 + 2 + 3 + 4


def test_what_servers_write_is_not_part_of_a_world() -> None:
    obj = small_cluster("n")
    obj["metadata"] |= {"uid": "u", "resourceVersion": "1", "finalizers": ["x"], "managedFields": []}
    obj["spec"] |= {"infrastructureRef": {"name": "x"}, "controlPlaneRef": {}, "paused": True}
    obj["status"] = {"phase": "Provisioned"}
    assert world.clean(obj) == small_cluster("n")
