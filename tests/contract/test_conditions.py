"""Conditions and counts in both dialects of Cluster API."""

from __future__ import annotations

import pytest

from capi_llm.contract.conditions import Replicas, conditions, deleting, observed, replicas, root_cause, words


def obj(
    status: dict, *, api_version: str = "cluster.x-k8s.io/v1beta1", generation: int = 1, **spec: object
) -> dict:
    return {
        "apiVersion": api_version,
        "kind": "X",
        "metadata": {"name": "x", "generation": generation},
        "spec": spec,
        "status": status,
    }


def test_new_conditions_are_read_before_old_ones() -> None:
    both = obj(
        {
            "conditions": [{"type": "Ready", "status": "True"}],
            "v1beta2": {"conditions": [{"type": "Available", "status": "False", "message": " why "}]},
        }
    )
    assert list(conditions(both)) == ["Available"]
    assert conditions(both)["Available"].message == "why"
    assert conditions(both)["Available"].false


def test_api_version_v1beta2_keeps_the_new_ones_in_status() -> None:
    newer = obj(
        {"conditions": [{"type": "Available", "status": "True"}]}, api_version="cluster.x-k8s.io/v1beta2"
    )
    assert conditions(newer)["Available"].true


def test_nothing_reported_yet() -> None:
    assert conditions({"kind": "X", "metadata": {}}) == {}
    assert observed({"kind": "X", "metadata": {"generation": 4}})
    assert replicas({"kind": "X", "metadata": {}}) == Replicas()


def test_condition_of_an_older_generation_is_stale() -> None:
    seen = obj(
        {"v1beta2": {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}]}},
        generation=3,
    )
    assert conditions(seen)["Ready"].stale
    assert not observed(obj({"observedGeneration": 2}, generation=3))


def test_counts_of_the_new_dialect_win() -> None:
    counted = obj(
        {
            "replicas": 3,
            "readyReplicas": 3,
            "updatedReplicas": 3,
            "v1beta2": {"readyReplicas": 2, "upToDateReplicas": 1},
        },
        replicas=3,
    )
    assert replicas(counted) == Replicas(desired=3, current=3, ready=2, up_to_date=1)


@pytest.mark.parametrize(("machines", "nodes"), [(2, 1), (1, 2)])
def test_a_machine_is_ready_where_both_dialects_say_so(machines: int, nodes: int) -> None:
    counted = obj({"readyReplicas": nodes, "v1beta2": {"readyReplicas": machines}}, replicas=2)
    assert replicas(counted).ready == 1
    none = obj({"v1beta2": {"readyReplicas": machines}}, replicas=2)  # the old dialect leaves out a 0
    assert replicas(none).ready == 0


def test_counts_of_the_old_dialect() -> None:
    counted = obj(
        {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}, replicas=2
    )
    assert replicas(counted) == Replicas(2, 2, 1, 2, 1)


def test_deleting() -> None:
    assert deleting({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    assert not deleting({"metadata": {}})


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("", ""),
        ("Control plane not yet initialized", "Control plane not yet initialized"),
        ("* A: b\n* C: d", "A: b"),
        ("* InfrastructureReady:\n  * VM: off\n  * Node: waits\n* Other: x", "VM: off"),
        ("* A:\n  * B:\n    * C: deep", "C: deep"),
        (
            "Scaling down is blocked because:\n* waiting for etcd",
            "Scaling down is blocked because: waiting for etcd",
        ),
        ("* A:\n\n  * B: after a blank line", "B: after a blank line"),
    ],
)
def test_root_cause_is_the_deepest_line_of_the_first_chain(message: str, cause: str) -> None:
    assert root_cause(message) == cause


def test_reasons_become_words() -> None:
    assert words("WaitingForBootstrapData") == "waiting for bootstrap data"
    assert words("") == ""
