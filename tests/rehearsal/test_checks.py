"""What is found without a sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from capi_llm.kube.resources import Object
from capi_llm.rehearsal import checks, manifests, world
from capi_llm.rehearsal.findings import Finding
from capi_llm.rehearsal.world import PoolKey
from worlds import pool, small_class, small_cluster, template


def found(before: list[Object], change: list[Object], **options: Any) -> list[Finding]:
    there = world.of(before)
    after = manifests.change(there, change)
    return checks.check(there, after, world.touched(there, after), **options)


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.code) for finding in findings]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("v1.32.0", "v1.33.0", None),
        ("v1.32.0", "v1.32.5", None),
        ("v1.31.0", "v1.33.0", "at once"),
        ("v1.32.5", "v1.32.0", "can not go back"),
        ("v1.32.0", "v1.31.0", "can not go back"),
        ("v1.33.0", "v1.34.0", "not supported"),
        ("v1.32.0", "newest", "is none"),
        ("v1.20.0", "v1.20.0", None),
    ],
)
def test_version_skew(old: str, new: str, words: str | None) -> None:
    before = [*small_class("n"), small_cluster("n", version=old)]
    change = small_cluster("n", version=new, variables=[{"name": "x", "value": "y"}])
    findings = found(before, [change])
    assert [finding.code for finding in findings] == ([] if words is None else ["version-skew"])
    assert words is None or words in findings[0].what


def test_a_new_cluster_needs_a_supported_version() -> None:
    findings = found(small_class("n"), [small_cluster("n", version="v1.26.0")])
    assert codes(findings) == [("error", "version-skew")]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (pool("md-0", span=(1, 3)), []),
        (pool("md-0", 2), []),
        (pool("md-0", 2, span=(1, 3)), [("error", "autoscaler-fights-replicas")]),
        (pool("md-0", 5, span=(1, 3)), [("error", "autoscaler-fights-replicas")]),
        (pool("md-0", span=(3, 1)), [("error", "autoscaler-range")]),
    ],
)
def test_an_autoscaler_and_replicas(entry: Object, expected: list[tuple[str, str]]) -> None:
    findings = found([*small_class("n"), small_cluster("n")], [small_cluster("n", pools=[entry])])
    assert codes(findings) == expected


def test_a_range_in_the_class_counts_too() -> None:
    prefix = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-"
    new = small_class("n", annotations={f"{prefix}min-size": "1", f"{prefix}max-size": "3"})
    findings = found([*small_class("n"), small_cluster("n")], [new[4]])
    assert codes(findings) == [("error", "autoscaler-fights-replicas")]


def test_live_machines_outside_a_new_range_are_a_warning() -> None:
    objects = world.of([*small_class("n"), small_cluster("n", pools=[pool("md-0", span=(1, 9))])]).objects
    before = world.World(objects, {PoolKey("n", "c", "md-0"): 5})
    after = manifests.change(before, [small_cluster("n", pools=[pool("md-0", span=(1, 3))])])
    findings = checks.check(before, after, world.touched(before, after))
    assert codes(findings) == [("warning", "replicas-outside-range")]


def networks(namespace: str, pods: str, services: str = "10.96.0.0/24") -> Object:
    obj = small_cluster(namespace)
    obj["spec"]["clusterNetwork"] = {"pods": {"cidrBlocks": [pods]}, "services": {"cidrBlocks": [services]}}
    return obj


def test_pods_and_services_must_not_overlap() -> None:
    findings = found(small_class("n"), [networks("n", "10.0.0.0/8")])
    assert codes(findings) == [("error", "network-overlap")]
    assert found(small_class("n"), [networks("n", "fd00::/48")]) == []


def test_networks_that_are_named_must_not_overlap() -> None:
    findings = found(small_class("n"), [networks("n", "192.168.0.0/16")], networks=["192.168.1.0/24"])
    assert codes(findings) == [("error", "network-overlap")]
    assert "192.168.1.0/24" in findings[0].what
    assert found(small_class("n"), [networks("n", "192.168.0.0/16")], networks=["172.16.0.0/12"]) == []


def test_other_clusters_count_where_told() -> None:
    before = [*small_class("n"), *small_class("m"), networks("m", "10.1.0.0/16", "10.2.0.0/16")]
    change = [networks("n", "10.1.128.0/17", "10.3.0.0/16")]
    assert found(before, change) == []
    (finding,) = found(before, change, distinct=True)
    assert "Cluster m/c" in finding.what


def test_a_kind_that_changes_is_refused_as_cluster_api_does() -> None:
    new = small_class("n")[4]
    new["spec"]["infrastructure"]["ref"]["kind"] = "AWSClusterTemplate"
    aws = template("AWSClusterTemplate", "cluster", "n", {})
    findings = found([*small_class("n"), small_cluster("n")], [new, aws])
    assert codes(findings) == [("error", "kind-changed")]


def test_a_template_that_is_not_there_is_named() -> None:
    new = small_class("n", machine_name="node-v2")[4]
    findings = found([*small_class("n"), small_cluster("n")], [new])
    assert {finding.code for finding in findings} == {"missing-template"}
    assert "DockerMachineTemplate n/node-v2" in findings[0].what


def test_an_infrastructure_template_can_not_change_under_its_name() -> None:
    changed = template("DockerMachineTemplate", "node-v1", "n", {"customImage": "x"})
    (finding,) = found([*small_class("n"), small_cluster("n")], [changed])
    assert (finding.code, finding.level) == ("template-changed", "error")
    assert "node-v2" in finding.fix
