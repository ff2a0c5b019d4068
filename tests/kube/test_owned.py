"""What is told from an object's managedFields agrees with what the API server says."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest

from capi_llm.kube.apply import MANAGER, apply
from capi_llm.kube.client import Api
from capi_llm.kube.difference import changed_paths
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.owned import in_place
from capi_llm.kube.resources import CONFIGMAPS, DEPLOYMENTS, Object, Ref

CONTAINERS: list[dict[str, Any]] = [
    {"name": "one", "image": "a:1", "ports": [{"containerPort": 80, "protocol": "TCP"}], "args": ["x", "y"]},
    {"name": "two", "image": "b:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
]


def deployment(namespace: str) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "x",
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "x"},
            "finalizers": ["example.com/a", "example.com/b"],
        },
        "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "template": {
                "metadata": {"labels": {"app": "x"}},
                "spec": {"containers": copy.deepcopy(CONTAINERS)},
            },
        },
    }


def containers(obj: Object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = obj["spec"]["template"]["spec"]["containers"]
    return found


CHANGES = {
    "a value": lambda obj: containers(obj)[0].update(image="a:2"),
    "a field more": lambda obj: obj["spec"].update(replicas=1),
    "a field less": lambda obj: containers(obj)[1].pop("env"),
    "a label more": lambda obj: obj["metadata"]["labels"].update(tier="web"),
    "no labels": lambda obj: obj["metadata"].pop("labels"),
    "another label": lambda obj: obj["metadata"].update(labels={"other": "x"}),
    "a value in an atomic list": lambda obj: containers(obj)[0].update(args=["x", "z"]),
    "an item less": lambda obj: containers(obj).pop(),
    "an item more": lambda obj: containers(obj).append({"name": "three", "image": "c:1"}),
    "another item": lambda obj: containers(obj)[1].update(name="three"),
    "another order": lambda obj: containers(obj).reverse(),
    "a finalizer less": lambda obj: obj["metadata"]["finalizers"].pop(),
    "another finalizer": lambda obj: obj["metadata"].update(finalizers=["example.com/a", "example.com/c"]),
}


@pytest.fixture
def live(api: Api, namespace: str) -> Any:
    ref = Ref(DEPLOYMENTS, "x", namespace)
    api.server_side_apply(ref, deployment(namespace), manager=MANAGER)
    yield api.get(ref)
    api.merge_patch(ref, {"metadata": {"finalizers": None}})


def test_what_was_applied_is_in_place(live: Object, namespace: str) -> None:
    assert in_place(live, deployment(namespace), manager=MANAGER)
    assert not in_place(live, deployment(namespace), manager="somebody")
    assert not in_place(live, deployment(namespace) | {"apiVersion": "apps/v2"}, manager=MANAGER)


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_not_in_place_and_the_server_says_so_too(
    api: Api, live: Object, namespace: str, what: str
) -> None:
    wanted = deployment(namespace)
    CHANGES[what](wanted)
    assert not in_place(live, wanted, manager=MANAGER)
    trial = api.server_side_apply(DEPLOYMENTS.ref(live), wanted, manager=MANAGER, dry_run=True)
    assert changed_paths(live, trial, manager=MANAGER)


def test_a_default_inside_of_a_list_is_for_the_server_to_say(api: Api, live: Object, namespace: str) -> None:
    wanted = deployment(namespace)
    del containers(wanted)[0]["ports"][0]["protocol"]
    ref = DEPLOYMENTS.ref(live)
    now = api.server_side_apply(ref, wanted, manager=MANAGER)
    assert not in_place(now, wanted, manager=MANAGER)
    assert apply(api, [wanted])[0].action == "unchanged"


def test_what_others_add_does_not_matter_and_what_they_take_does(
    api: Api, live: Object, namespace: str
) -> None:
    ref = DEPLOYMENTS.ref(live)
    api.merge_patch(ref, {"spec": {"replicas": 4}, "metadata": {"labels": {"theirs": "1"}}})
    assert in_place(api.get(ref), deployment(namespace), manager=MANAGER)
    api.merge_patch(ref, {"metadata": {"labels": {"app.kubernetes.io/name": "theirs"}}})
    assert not in_place(api.get(ref), deployment(namespace), manager=MANAGER)


def test_empty_maps_and_whole_lists(api: Api, namespace: str) -> None:
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "empty", "namespace": namespace, "labels": {}},
            "data": {},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "r", "namespace": namespace},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        },
    ]
    apply(api, objects)
    assert {item.action for item in apply(api, objects)} == {"unchanged"}
    resource = Discovery(api).resource_for(objects[1])
    assert in_place(api.get(resource.ref(objects[1])), objects[1], manager=MANAGER)


def config_maps(namespace: str, count: int) -> list[Object]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"c{number}", "namespace": namespace},
            "data": {"n": str(number)},
        }
        for number in range(count)
    ]


def requests(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Method and last part of the path of every request about a ConfigMap."""
    found = [record.args for record in caplog.records if record.name == "capi_llm.kube.transport"]
    return [
        f"{args[0]} {str(args[1]).rpartition('/')[2]}"
        for args in found
        if isinstance(args, tuple) and "/configmaps" in str(args[1])
    ]


def test_many_of_a_kind_are_read_by_one_list(
    api: Api, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    objects = config_maps(namespace, 30)
    with caplog.at_level(logging.DEBUG, logger="capi_llm.kube.transport"):
        assert {item.action for item in apply(api, objects)} == {"created"}
        assert sorted(requests(caplog)) == sorted(["GET configmaps", *(f"PATCH c{n}" for n in range(30))])
        caplog.clear()
        assert {item.action for item in apply(api, objects)} == {"unchanged"}
        assert requests(caplog) == ["GET configmaps"]


def test_objects_beyond_the_page_are_read_by_themselves(api: Api, namespace: str) -> None:
    for number in range(60):
        api.create(CONFIGMAPS, {"metadata": {"name": f"a{number}", "namespace": namespace}})
    objects = config_maps(namespace, 20)
    assert {item.action for item in apply(api, objects)} == {"created"}
    assert {item.action for item in apply(api, objects)} == {"unchanged"}
    objects[3]["data"]["n"] = "changed"
    assert [item.ref.name for item in apply(api, objects) if item.action == "configured"] == ["c3"]


def test_admission_is_asked_where_it_is_wanted(
    api: Api, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    objects = config_maps(namespace, 1)
    apply(api, objects)
    with caplog.at_level(logging.DEBUG, logger="capi_llm.kube.transport"):
        assert apply(api, objects)[0].action == "unchanged"
        assert requests(caplog) == ["GET c0"]
        caplog.clear()
        assert apply(api, objects, dry_run=True, admission=True)[0].action == "unchanged"
        assert requests(caplog) == ["GET c0", "PATCH c0"]
