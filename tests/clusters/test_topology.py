"""A spec becomes a Cluster and comes back; differences name the command that makes them go away."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_llm.clusters import amend
from capi_llm.clusters.difference import differences
from capi_llm.clusters.spec import ClusterSpec, Pool, from_flags, merge
from capi_llm.clusters.topology import INTENT, kubernetes_label, manifest, pool_entry, pool_of, spec_of
from capi_llm.contract import rollout

CLASS = "docker-llm-clusterclass"
MIN = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"
MAX = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"


def spec(**flags: object) -> ClusterSpec:
    return merge(None, from_flags(name="demo", **flags), default_class=CLASS)  # type: ignore[arg-type]


def test_manifest() -> None:
    made = manifest(spec(workers="1..3", variables=["cni=none"]))
    assert made == {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Cluster",
        "metadata": {
            "name": "demo",
            "namespace": "default",
            "labels": {
                "cni": "none",
                "cluster-api.cattle.io/rancher-auto-import": "true",
                "capi-llm.dev/bundles": "llm",
                "capi-llm.dev/kubernetes": "1.33",
            },
            "annotations": {INTENT: '{"name":"demo","variables":{"cni":"none"},"workers":"1..3"}'},
        },
        "spec": {
            "clusterNetwork": {
                "pods": {"cidrBlocks": ["192.168.0.0/16"]},
                "services": {"cidrBlocks": ["10.96.0.0/24"]},
                "serviceDomain": "cluster.local",
            },
            "topology": {
                "class": CLASS,
                "version": "v1.33.0",
                "controlPlane": {"replicas": 1},
                "workers": {
                    "machineDeployments": [
                        {
                            "class": "default-worker",
                            "name": "md-0",
                            "metadata": {
                                "annotations": {
                                    MIN: "1",
                                    MAX: "3",
                                    "capacity.cluster-autoscaler.kubernetes.io/cpu": "2",
                                    "capacity.cluster-autoscaler.kubernetes.io/memory": "4Gi",
                                }
                            },
                        }
                    ]
                },
                "variables": [{"name": "cni", "value": "none"}],
            },
        },
    }


def test_fixed_pool_has_replicas_and_no_range() -> None:
    entry = manifest(spec(workers="2"))["spec"]["topology"]["workers"]["machineDeployments"][0]
    assert entry["replicas"] == 2
    assert MIN not in entry["metadata"]["annotations"]


def test_changing_a_pool_keeps_what_others_wrote() -> None:
    base = {
        "name": "md-0",
        "class": "default-worker",
        "replicas": 2,
        "nodeDrainTimeout": "10s",
        "metadata": {"labels": {"a": "b"}, "annotations": {"x": "y"}},
    }
    entry = pool_entry(replace(pool_of(base), minimum=1, maximum=4, fixed=False), base)
    assert "replicas" not in entry
    assert entry["nodeDrainTimeout"] == "10s"
    assert entry["metadata"] == {"labels": {"a": "b"}, "annotations": {"x": "y", MIN: "1", MAX: "4"}}
    assert base["replicas"] == 2, "the original is not touched"


def test_labels_of_the_user_win() -> None:
    labels = manifest(spec(labels=["cluster-api.cattle.io/rancher-auto-import=false"]))["metadata"]["labels"]
    assert labels["cluster-api.cattle.io/rancher-auto-import"] == "false"
    assert labels["cni"] == "calico"


@pytest.mark.parametrize(
    ("labels", "after", "label"),
    [
        ({}, "v1.33.1", "1.33"),  # a cluster that is older than the label
        ({"capi-llm.dev/kubernetes": "1.32"}, "v1.33.1", "1.33"),
        ({"capi-llm.dev/kubernetes": "1.32"}, "v1.32.9", "1.32"),
        ({"capi-llm.dev/kubernetes": "1.30"}, "v1.33.1", None),  # somebody wants it so
    ],
)
def test_the_label_of_its_kubernetes_goes_along(
    labels: dict[str, str], after: str, label: str | None
) -> None:
    found = {} if label is None else {"capi-llm.dev/kubernetes": label}
    assert kubernetes_label(labels, "v1.32.2", after) == found
    want = spec(version=after)
    live = manifest(spec(version="v1.32.2"))
    live["metadata"]["labels"] = labels
    assert amend.patch(live, want)["metadata"]["labels"] == found


def test_which_kubernetes_a_cluster_says() -> None:
    own = {"metadata": {"labels": {"capi-llm.dev/kubernetes": "1.30"}}}
    assert rollout.kubernetes(own) == "1.30"
    assert rollout.kubernetes(own | {"spec": {"topology": {"version": "v1.31.4+rke2r1"}}}) == "1.31"
    assert rollout.kubernetes({"metadata": {}, "spec": {"topology": {"version": "latest"}}}) == ""


def test_class_of_another_namespace() -> None:
    topology = manifest(spec(cluster_class="shared/mine"))["spec"]["topology"]
    assert (topology["class"], topology["classNamespace"]) == ("mine", "shared")
    assert "classNamespace" not in manifest(spec(cluster_class="default/mine"))["spec"]["topology"]
    assert spec_of(manifest(spec(cluster_class="shared/mine"))).cluster_class == "shared/mine"


def test_cluster_that_kubectl_applied() -> None:
    cluster = {
        "metadata": {"name": "own", "namespace": "team"},
        "spec": {
            "topology": {
                "classRef": {"name": "c", "namespace": "shared"},
                "version": "v1.30.1",
                "workers": {
                    "machineDeployments": [
                        {"class": "w", "name": "a"},
                        {"class": "w", "name": "b", "replicas": 2},
                    ]
                },
            }
        },
    }
    assert spec_of(cluster) == ClusterSpec(
        "own",
        "team",
        "shared/c",
        "v1.30.1",
        pods="",
        services="",
        pools=(Pool("a", 1, 1, "w", "", ""), Pool("b", 2, 2, "w", "", "", fixed=True)),
    )
    cluster["metadata"]["annotations"] = {INTENT: "not json"}
    assert spec_of(cluster).given == frozenset()


SPANS = st.sampled_from(["1..3", "2", "0..5", "0", "3..3"])


@given(
    workers=SPANS,
    pools=st.dictionaries(st.sampled_from(["gpu", "big"]), SPANS),
    cpu=st.sampled_from(["2", "500m"]),
)
def test_round_trip(workers: str, pools: dict[str, str], cpu: str) -> None:
    want = spec(workers=workers, cpu=cpu, pools=[f"{name}={span}" for name, span in pools.items()])
    back = spec_of(manifest(want))
    assert back.pools == want.pools
    assert differences(back, want) == []
    assert {word.split(".")[0] for word in want.given} == back.given


def changed(have: ClusterSpec, **flags: object) -> dict[str, str]:
    return {item.field: item.command for item in differences(spec_of(manifest(have)), spec(**flags))}


def test_what_was_not_said_does_not_differ() -> None:
    have = spec(
        workers="2..6", version="v1.32.0", control_plane=3, cpu="8", labels=["a=b"], variables=["x=1"]
    )
    assert changed(have) == {}
    assert changed(have, workers="2..6") == {}
    assert changed(spec(pools=["gpu=0..2:gpu-worker"], cpu="8"), pools=["gpu=0..2"]) == {}


def test_differences_name_a_command_that_exists() -> None:
    have = spec(pools=["gpu=0..2:gpu-worker"])
    found = changed(
        have,
        workers="2..6",
        pools=["gpu=1", "big=1..2"],
        version="v1.32.0",
        control_plane=3,
        cpu="8",
        pods="10.0.0.0/16",
        labels=["team=search"],
        variables=["cni=none"],
        cluster_class="other",
    )
    assert found["workers of pool md-0"] == "capi-llm scale demo --workers 2..6"
    assert found["workers of pool gpu"] == "capi-llm scale demo --workers 1 --pool gpu"
    assert found["version"] == "capi-llm upgrade cluster demo --to v1.32.0"
    assert found["pods"] == "capi-llm delete-cluster demo --yes, then this command again"
    for field in (
        "control-plane",
        "class",
        "cpu of pool md-0",
        "pool big",
        "label team",
        "variable cni",
    ):
        before, _, after = found[field].partition(" -- ")
        assert before == "capi-llm kubeconfig --management"
        words = shlex.split(after)
        assert words[:3] == ["kubectl", "-n", "default"]
        assert "clusters.cluster.x-k8s.io" in words
        if "-p" in words:
            json.loads(words[words.index("-p") + 1])


def test_pool_of_another_class_has_to_be_made_anew() -> None:
    found = changed(spec(pools=["gpu=0..2"]), pools=["gpu=0..2:gpu-worker"])
    assert list(found) == ["class of pool gpu"]
    assert '"op":"remove","path":"/spec/topology/workers/machineDeployments/1"' in found["class of pool gpu"]


def test_pool_that_is_not_asked_for_any_more() -> None:
    found = changed(spec(pools=["gpu=0..2", "old=1"]), pools=["gpu=0..2"])
    assert list(found) == ["pool old"]
    assert "machineDeployments/2" in found["pool old"]


@pytest.mark.parametrize(
    ("have", "want", "same"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (True, 1, False),
        ([{"key": "x", "value": ""}], [{"key": "x"}], True),
        ([1], [1, 2], False),
    ],
)
def test_variables_may_have_been_defaulted(have: object, want: object, same: bool) -> None:
    one = ClusterSpec("demo", variables={"x": have})
    other = ClusterSpec("demo", variables={"x": want}, given=frozenset({"variables"}))
    assert (differences(one, other) == []) is same


def test_namespace_is_in_the_command() -> None:
    have = replace(spec(), namespace="team")
    want = replace(spec(workers="2..6"), namespace="team")
    assert differences(have, want)[0].command == "capi-llm scale demo --namespace team --workers 2..6"
