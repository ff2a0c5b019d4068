"""What real Cluster API does with changes, many at once: each in a namespace of its own."""

from __future__ import annotations

from typing import Any

import pytest

from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object
from capi_llm.rehearsal import checks, manifests, run, world
from capi_llm.rehearsal.findings import Finding
from capi_llm.rehearsal.report import verdict
from capi_llm.rehearsal.results import ClusterResult, Rehearsal
from capi_llm.rehearsal.world import Key, PoolKey
from worlds import patch, pool, small_class, small_cluster, template, variable

pytestmark = pytest.mark.sandbox

SECRET_FILE = {"path": "/etc/x", "contentFrom": {"secret": {"name": "outside", "key": "token"}}}
JOIN = {"nodeRegistration": {}}
COLOUR = variable("colour", default="red")


def rolls(case: str) -> tuple[list[Object], list[Object], dict[str, int]]:
    """Objects before, the change, and replicas that an autoscaler gave to pools."""
    if case == "class-rolls-all":
        new = small_class(case, machine={"customImage": "new"}, machine_name="node-v2")
        return [*small_class(case), small_cluster(case)], [new[2], new[4]], {}
    if case == "same-template-new-name":
        new = small_class(case, machine_name="node-v2")
        return [*small_class(case), small_cluster(case)], [new[2], new[4]], {}
    if case == "upgrade":
        return [*small_class(case), small_cluster(case)], [small_cluster(case, version="v1.33.0")], {}
    if case == "pools":
        pools = [pool("up", 1), pool("down", 2), pool("gone", 1)]
        new = [pool("up", 2), pool("down", 1), pool("new", 1)]
        return [*small_class(case), small_cluster(case, pools=pools)], [small_cluster(case, pools=new)], {}
    if case == "autoscaled":
        scaled = pool("md-0", span=(1, 3), metadata={})
        there = [
            *small_class(case, variables=[COLOUR], patches=[COLOURED]),
            small_cluster(case, pools=[scaled]),
        ]
        return (
            there,
            [small_cluster(case, pools=[scaled], variables=[{"name": "colour", "value": "blue"}])],
            {"md-0": 2},
        )
    if case == "raised":
        spans = (pool("md-0", span=span, metadata={}) for span in ((1, 3), (2, 4)))
        before, after = (small_cluster(case, pools=[item]) for item in spans)
        return [*small_class(case), before], [after], {}
    if case == "file-from-secret":
        config = {"joinConfiguration": JOIN, "files": [SECRET_FILE]}
        more = {**config, "files": [SECRET_FILE, {"path": "/etc/y", "content": "a password"}]}
        there = [*small_class(case, config=config), small_cluster(case)]
        changed = template("KubeadmConfigTemplate", "worker-v2", case, more)
        new = small_class(case, config=config)[4]
        new["spec"]["workers"]["machineDeployments"][0]["template"]["bootstrap"]["ref"]["name"] = "worker-v2"
        return there, [changed, new], {}
    if case == "new-cluster":
        return small_class(case), [small_cluster(case)], {}
    raise AssertionError(case)


COLOURED = patch("colour", "DockerMachineTemplate", "/spec/template/spec/customImage", variable="colour")
ROLLS = ("class-rolls-all", "same-template-new-name", "upgrade", "pools", "autoscaled", "raised",
         "file-from-secret", "new-cluster")  # fmt: skip


@pytest.fixture(scope="module")
def rolled(place: Api) -> Rehearsal:
    there: list[Object] = []
    change: list[Object] = []
    replicas = {}
    for case in ROLLS:
        old, new, scaled = rolls(case)
        there, change = there + old, change + new
        replicas |= {PoolKey(case, "c", name): count for name, count in scaled.items()}
    found = world.of(there)
    before = world.World(found.objects, replicas, {PoolKey("upgrade", "c", "md-0"): ("live-worker",)})
    return rehearsed(place, before, change)


def rehearsed(place: Api, before: world.World, change: list[Object]) -> Rehearsal:
    after = manifests.change(before, change)
    keys = world.touched(before, after)
    return run.perform(place, before, after, findings=checks.check(before, after, keys), timeout=900)


def of(rehearsal: Rehearsal, case: str) -> ClusterResult:
    return next(result for result in rehearsal.clusters if result.key.namespace == case)


def about(rehearsal: Rehearsal, case: str) -> list[Finding]:
    return [finding for finding in rehearsal.findings if f" {case}/" in f" {finding.on}"]


def test_a_class_change_that_rolls_every_machine_is_found(rolled: Rehearsal) -> None:
    result = of(rolled, "class-rolls-all")
    assert {machine.fate for machine in result.machines} == {"replaced"}
    assert verdict(result) == "all 2 machines would be replaced"
    assert result.why[PoolKey("class-rolls-all", "c")] == ('DockerMachineTemplate.customImage: none → "new"',)
    (finding,) = about(rolled, "class-rolls-all")
    assert (finding.code, finding.on) == ("rolls-every-machine", "ClusterClass class-rolls-all/small")
    assert "customImage" in finding.why


def test_a_template_of_another_name_with_the_same_content_rolls_nothing(rolled: Rehearsal) -> None:
    result = of(rolled, "same-template-new-name")
    assert [machine.fate for machine in result.machines] == ["left", "left"]
    assert about(rolled, "same-template-new-name") == []


def test_an_upgrade_rolls_the_control_plane_before_the_workers(rolled: Rehearsal) -> None:
    plane, worker = of(rolled, "upgrade").machines
    assert (plane.pool.pool, worker.pool.pool) == ("", "md-0")
    assert plane.fate == worker.fate == "replaced"
    assert 0 < plane.came < plane.went < worker.came < worker.went
    assert 'version: "v1.32.0" → "v1.33.0"' in of(rolled, "upgrade").why[worker.pool]


def test_a_machine_bears_the_name_of_the_live_one_that_it_stands_for(rolled: Rehearsal) -> None:
    plane, worker = of(rolled, "upgrade").machines
    assert worker.name == "live-worker" != worker.simulated
    assert plane.name == plane.simulated


def test_pools_that_grow_shrink_come_and_go(rolled: Rehearsal) -> None:
    fates: dict[str, list[str]] = {}
    for machine in of(rolled, "pools").machines:
        fates.setdefault(machine.pool.pool, []).append(machine.fate)
    assert {pool: sorted(found) for pool, found in fates.items()} == {
        "": ["left"],
        "up": ["created", "left"],
        "down": ["deleted", "left"],
        "gone": ["deleted"],
        "new": ["created"],
    }


def test_a_scaled_pool_has_as_many_machines_as_live(rolled: Rehearsal) -> None:
    workers = [machine for machine in of(rolled, "autoscaled").machines if machine.pool.pool]
    assert [machine.fate for machine in workers] == ["replaced", "replaced"]


def test_a_pool_below_its_new_range_is_brought_into_it(rolled: Rehearsal) -> None:
    result = of(rolled, "raised")
    assert result.outcome == "rehearsed"
    workers = [machine.fate for machine in result.machines if machine.pool.pool]
    assert sorted(workers) == ["changed in place", "created"]
    (note,) = (item for item in about(rolled, "raised") if item.code == "scaled")
    assert "from 1 to 2 machines" in note.what


def test_files_from_secrets_come_up_and_their_contents_are_not_shown(rolled: Rehearsal) -> None:
    result = of(rolled, "file-from-secret")
    assert [machine.fate for machine in result.machines] == ["left", "replaced"]
    (why,) = result.why[PoolKey("file-from-secret", "c", "md-0")]
    assert why == "KubeadmConfigTemplate.files: (not shown) → (not shown)"


def test_a_new_cluster_is_created(rolled: Rehearsal) -> None:
    result = of(rolled, "new-cluster")
    assert [machine.fate for machine in result.machines] == ["created", "created"]
    assert verdict(result) == "2 machines would be created"


# ---------------------------------------------------------------------- what is refused, or breaks

BAD: dict[str, tuple[list[Object], list[Object]]] = {}


def bad(case: str, change: list[Object], **cluster: Any) -> None:
    # A pool without machines is rendered like any other.
    BAD[case] = ([*small_class(case), small_cluster(case, pools=[pool("md-0", 0)], **cluster)], change)


UNDEFINED = patch("p", "DockerMachineTemplate", "/spec/template/spec/customImage", template="{{ .nobody }}")
bad("undefined-in-template", [small_class("undefined-in-template", patches=[UNDEFINED])[4]])
UNKNOWN = patch("p", "DockerMachineTemplate", "/spec/template/spec/customImage", variable="nobody")
bad("undefined-in-value", [small_class("undefined-in-value", patches=[UNKNOWN])[4]])
bad("required-variable", [small_class("required-variable", variables=[variable("must", required=True)])[4]])
NUMBER = patch("p", "DockerMachineTemplate", "/spec/template/spec/customImage", value=5)
bad("invalid-machine", [small_class("invalid-machine", patches=[NUMBER])[4]])
UNKNOWN_FIELD = patch("p", "DockerMachineTemplate", "/spec/template/spec/noSuchField", value="x")
bad("unknown-field", [small_class("unknown-field", patches=[UNKNOWN_FIELD])[4]])
WRONG_TYPE = patch("p", "KubeadmConfigTemplate", "/spec/template/spec/joinConfiguration", value="x")
bad("invalid-config", [small_class("invalid-config", patches=[WRONG_TYPE])[4]])
bad(
    "two-minors", [small_cluster("two-minors", version="v1.33.0", pools=[pool("md-0", 0)])], version="v1.31.0"
)
bad("downgrade", [small_cluster("downgrade", version="v1.31.0", pools=[pool("md-0", 0)])])
bad("fights-autoscaler", [small_cluster("fights-autoscaler", pools=[pool("md-0", 5, span=(1, 3))])])
bad("networks", [{"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster",
                  "metadata": {"name": "c", "namespace": "networks"},
                  "spec": {"clusterNetwork": {"pods": {"cidrBlocks": ["10.96.0.0/16"]}}}}])  # fmt: skip
bad("other-kind", [
    template("AWSMachineTemplate", "node-v1", "other-kind", {}),
    small_class("other-kind")[4] | {"spec": {"controlPlane": {"machineInfrastructure": {"ref": {
        "kind": "AWSMachineTemplate"}}}}}])  # fmt: skip
bad(
    "changed-template",
    [template("DockerMachineTemplate", "node-v1", "changed-template", {"customImage": "x"})],
)


@pytest.fixture(scope="module")
def broken(place: Api) -> Rehearsal:
    before = world.of(obj for there, _ in BAD.values() for obj in there)
    return rehearsed(place, before, [obj for _, change in BAD.values() for obj in change])


def the_error(broken: Rehearsal, case: str) -> Finding:
    (finding,) = (item for item in about(broken, case) if item.level == "error")
    return finding


@pytest.mark.parametrize(
    ("case", "code", "kind", "words"),
    [
        ("undefined-in-template", "no-value", "ClusterClass", "md-0: DockerMachineTemplate.customImage"),
        ("undefined-in-value", "refused", "ClusterClass", "nobody"),
        ("required-variable", "cluster-invalid", "Cluster", "must"),
        ("invalid-machine", "topology-failed", "Cluster", "customImage"),
        ("invalid-config", "topology-failed", "Cluster", "joinConfiguration"),
        ("two-minors", "version-skew", "Cluster", "v1.33.0"),
        ("downgrade", "version-skew", "Cluster", "v1.31.0"),
        ("other-kind", "kind-changed", "ClusterClass", "kind of a template"),
        ("changed-template", "template-changed", "DockerMachineTemplate", "immutable"),
    ],
)
def test_what_breaks_is_found_with_its_object_and_reason(
    broken: Rehearsal, case: str, code: str, kind: str, words: str
) -> None:
    finding = the_error(broken, case)
    assert (finding.code, finding.on.split()[0]) == (code, kind)
    assert words in f"{finding.what} {finding.why}"
    assert "original" not in finding.why


def test_webhooks_say_in_their_own_words_why_a_version_is_refused(broken: Rehearsal) -> None:
    assert "Cluster API says: " in the_error(broken, "two-minors").why
    assert "Cluster API says: " in the_error(broken, "downgrade").why


def test_replicas_beside_an_autoscalers_range_are_found_and_refused(broken: Rehearsal) -> None:
    codes = [item.code for item in about(broken, "fights-autoscaler") if item.level == "error"]
    assert codes == ["autoscaler-fights-replicas", "refused"]


def test_overlapping_networks_are_found(broken: Rehearsal) -> None:
    finding = about(broken, "networks")[0]
    assert (finding.level, finding.code) == ("error", "network-overlap")
    assert "pods 10.96.0.0/16 and services 10.96.0.0/24" in finding.what


def test_nothing_rolls_where_a_change_is_refused(broken: Rehearsal) -> None:
    rolled = {result.key: [machine.fate for machine in result.machines] for result in broken.clusters}
    assert len(rolled) == len(BAD)
    assert all(fates == ["left"] for fates in rolled.values()), rolled


def test_outcomes_say_which_clusters_were_refused(broken: Rehearsal) -> None:
    outcomes = {result.key.namespace: result.outcome for result in broken.clusters}
    assert outcomes["two-minors"] == outcomes["fights-autoscaler"] == "refused"
    assert outcomes["invalid-machine"] == outcomes["required-variable"] == "failed"


def test_a_field_that_the_provider_does_not_have_changes_nothing_as_its_api_server_drops_it(
    broken: Rehearsal,
) -> None:
    assert verdict(of(broken, "unknown-field")) == "nothing would change"
    assert about(broken, "unknown-field") == []


def test_keys_are_told_apart_by_group() -> None:
    assert Key("a", "K", "n", "x") != Key("b", "K", "n", "x")
