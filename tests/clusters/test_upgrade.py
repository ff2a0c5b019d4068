"""Upgrades: the skew rules, the plan, and a wait that does not end too early."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest

from capi_llm import versions
from capi_llm.clusters import skew, tree, upgrade
from capi_llm.clusters.tree import Objects
from capi_llm.contract import rollout
from capi_llm.errors import Refused
from capi_llm.waiting import Status

Scenario = Callable[[str], Objects]


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ("v1.32.0", "v1.33.0"),
        ("v1.32.9", "v1.33.0"),
        ("v1.32.0", "v1.32.1"),
        ("v1.33.0-rc.1", "v1.33.0"),
        ("v1.32.0+rke2r1", "v1.32.0+rke2r2"),
    ],
)
def test_one_minor_version_up_is_allowed(have: str, want: str) -> None:
    skew.check_step(have, want, "demo", "default")


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ("v1.33.0", "v1.32.9"),
        ("v1.33.1", "v1.33.0"),
        ("v1.33.0", "v1.33.0-rc.1"),
        ("v1.32.0+rke2r2", "v1.32.0+rke2r1"),
    ],
)
def test_no_version_goes_back(have: str, want: str) -> None:
    with pytest.raises(Refused, match="can not go back"):
        skew.check_step(have, want, "demo", "default")


def test_a_jump_is_refused_with_the_commands_in_between() -> None:
    with pytest.raises(Refused, match="one minor version at a time") as caught:
        skew.check_step("v1.30.4", "v1.33.2", "demo", "team-a")
    assert [line.strip() for line in caught.value.fix.splitlines()] == [
        "capi-llm upgrade cluster demo --to v1.31.0 -n team-a",
        "capi-llm upgrade cluster demo --to v1.32.0 -n team-a",
        "capi-llm upgrade cluster demo --to v1.33.2 -n team-a",
    ]


def machine(version: str, kubelet: str = "") -> dict[str, object]:
    return {
        "metadata": {"name": "old"},
        "spec": {"version": version},
        "status": {"nodeInfo": {"kubeletVersion": kubelet}},
    }


def test_kubelets_may_be_three_minor_versions_older() -> None:
    skew.check_kubelets([machine("v1.30.0"), machine("v1.33.0")], "v1.33.0")
    skew.check_kubelets([machine("v1.25.0")], "v1.27.1")
    for runs, want in (
        (machine("v1.29.9"), "v1.33.0"),
        (machine("v1.33.0", "v1.29.9"), "v1.33.0"),
        (machine("v1.24.0"), "v1.27.0"),
    ):
        with pytest.raises(Refused, match="machine old would be too old"):
            skew.check_kubelets([runs], want)


def status(objects: Objects, version: str) -> Status:
    (view,) = tree.overview(objects)
    return upgrade.verdict(version)(view, objects)


def changed(objects: Objects, **sets: Callable[[dict[str, object]], None]) -> Objects:
    """A copy of ``objects``, with a function applied to each object of a field."""
    copied = copy.deepcopy(objects)
    for field, change in sets.items():
        for obj in getattr(copied, field):
            change(obj)
    return copied


def run(version: str) -> Callable[[dict], None]:
    return lambda obj: obj["spec"].update(version=version)


def test_a_reconciled_topology_is_not_the_end(scenario: Scenario) -> None:
    objects = scenario("upgrading-pool")
    conditions = {c["type"]: c["status"] for c in objects.clusters[0]["status"]["v1beta2"]["conditions"]}
    assert conditions["TopologyReconciled"] == "True"
    found = status(objects, "v1.33.0")
    assert not found.ready
    assert found.message.startswith("2 of 4 machines run v1.33.0; pool md-0: machine up-md-0-")


def test_every_machine_counts_even_where_the_tree_says_ready(scenario: Scenario) -> None:
    objects = scenario("upgraded")
    assert status(objects, "v1.33.0").ready
    old = status(changed(objects, machines=run("v1.32.0")), "v1.33.0")
    assert "0 of 3 machines run v1.33.0; machine up-" in old.message

    def kubelet(obj: dict) -> None:
        obj["status"]["nodeInfo"] = {"kubeletVersion": "v1.32.4"}

    assert "its kubelet is v1.32.4" in status(changed(objects, machines=kubelet), "v1.33.0").message


def test_control_plane_and_pools_have_to_have_taken_it_over(scenario: Scenario) -> None:
    objects = scenario("upgraded")

    def lowest(obj: dict) -> None:
        obj["status"]["version"] = "v1.32.0"

    def template(obj: dict) -> None:
        obj["spec"]["template"]["spec"]["version"] = "v1.32.0"

    for sets, message in (
        ({"control_planes": run("v1.32.0")}, "the control plane has not taken over v1.33.0 yet"),
        ({"control_planes": lowest}, "the control plane still has machines of v1.32.0"),
        ({"machine_deployments": template}, "pool md-0 has not taken over v1.33.0 yet"),
    ):
        found = status(changed(objects, **sets), "v1.33.0")
        assert not found.ready
        assert found.message.endswith(message)


def test_another_version_by_somebody_else_ends_the_wait(scenario: Scenario) -> None:
    found = status(scenario("upgraded"), "v1.32.0")
    assert found.failed
    assert "changed the version to v1.33.0" in found.message


def test_an_upgrade_under_way_has_to_end_first(scenario: Scenario) -> None:
    with pytest.raises(Refused, match=r"still being upgraded to v1\.33\.0") as caught:
        skew.check_settled(scenario("upgrading-pool"), "v1.33.0", "up", "default")
    assert "capi-llm upgrade cluster up --to v1.33.0 waits" in caught.value.fix
    skew.check_settled(scenario("upgraded"), "v1.33.0", "up", "default")


def test_a_control_plane_that_cluster_api_left_and_made_anew_does_not_count(scenario: Scenario) -> None:
    """It had made one and was interrupted before it had written into the Cluster which."""
    objects = scenario("upgraded")
    left = copy.deepcopy(objects.control_planes[0])
    left["metadata"]["name"] += "-left"
    del left["status"]
    assert status(replace(objects, control_planes=[left, *objects.control_planes]), "v1.33.0").ready


def test_stages_in_their_order(scenario: Scenario) -> None:
    control_plane, pool = upgrade._stages(scenario("upgrading-pool"), "v1.33.0")
    assert (control_plane.what, control_plane.machines, control_plane.behind) == ("control plane", 1, 0)
    assert (pool.what, pool.machines, pool.behind) == ("pool md-0", 3, 2)
    assert pool.how == "up to 1 new first"


def test_percentages_are_rounded_as_cluster_api_does() -> None:
    def deployment(surge: object, unavailable: object, replicas: int) -> dict[str, object]:
        rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
        return {"spec": {"replicas": replicas, "strategy": {"rollingUpdate": rolling}}}

    for given, wanted in (
        ((1, 0, 3), (1, 0)),
        (("25%", "25%", 3), (1, 0)),
        (("25%", "50%", 5), (2, 2)),
        ((0, "10%", 3), (0, 1)),
    ):
        found = rollout.pool_strategy(deployment(*given))
        assert (found.surge, found.unavailable) == wanted


def test_pools_that_are_held_back() -> None:
    def entry(name: str, *annotations: str) -> dict[str, object]:
        return {"name": name, "metadata": {"annotations": dict.fromkeys(annotations, "")}}

    assert rollout.held_back([entry("a"), entry("b")]) == {}
    assert list(rollout.held_back([entry("a"), entry("b", rollout.DEFER), entry("c")])) == ["b"]
    held = rollout.held_back([entry("a"), entry("b", rollout.HOLD), entry("c")])
    assert list(held) == ["b", "c"]
    assert held["c"] == f"{rollout.HOLD} of pool b"


def test_order_of_versions() -> None:
    names = ["v1.9.0", "v1.33.0-rc.1", "v1.33.0", "v1.33.0+rke2r1", "v1.33.10"]
    assert sorted(names, key=lambda name: versions.parse(name).precedence) == names


def test_nothing_is_left_to_do_when_all_has_arrived() -> None:
    stage = upgrade.Stage("control plane", "v1.33.0", 1, 0, "")
    plan = upgrade.Plan("demo", "default", "v1.33.0", "v1.33.0", True, 1, (stage,))
    assert plan.done
    assert not replace(plan, stages=(replace(stage, behind=1),)).done
    assert not replace(plan, stages=(replace(stage, before="v1.32.0"),)).done
    assert not replace(plan, begun=False).done
