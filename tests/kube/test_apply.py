"""Server-side apply: what it writes, what it leaves alone, and how it fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from capi_llm import waiting
from capi_llm.errors import BadInput, CapiLlmError, Conflict, Invalid, NotFound, TimedOut, Unavailable
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.difference import changed_paths
from capi_llm.kube.resources import CONFIGMAPS, CRDS, DEPLOYMENTS, NAMESPACES, Object, Ref, Resource
from control_plane import ControlPlane, free_port


def config_map(name: str, namespace: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def deployment(namespace: str, image: str = "ollama:1", **spec: Any) -> Object:
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x", "namespace": namespace, "labels": {"capi-llm.dev/app": "x"}},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template} | spec,
    }


def crd(group: str, kind: str = "Model", *, scope: str = "Namespaced") -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    plural = f"{kind.lower()}s"
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": scope, "versions": [version]},
    }


def model(group: str, namespace: str | None, **spec: Any) -> Object:
    metadata = {"name": "llama"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"{group}/v1", "kind": "Model", "metadata": metadata, "spec": spec}


def test_created_unchanged_configured(api: Api, namespace: str, control_plane: ControlPlane) -> None:
    objects = [config_map("one", namespace, a="1"), deployment(namespace, replicas=1)]
    before = len(control_plane.writes())
    assert [(str(item.ref), item.action) for item in apply(api, objects)] == [
        (f"ConfigMap {namespace}/one", "created"),
        (f"Deployment {namespace}/x", "created"),
    ]
    assert len(control_plane.writes()) - before == 2

    again = apply(api, objects)
    assert {item.action for item in again} == {"unchanged"}
    assert all(item.changed == () for item in again)
    assert len(control_plane.writes()) - before == 2

    objects[1] = deployment(namespace, image="ollama:2", replicas=3)
    results = apply(api, objects)
    assert [item.action for item in results] == ["unchanged", "configured"]
    assert results[1].changed == ("spec.replicas", "spec.template.spec.containers[0].image")
    assert len(control_plane.writes()) - before == 3
    assert api.get(Ref(DEPLOYMENTS, "x", namespace))["spec"]["replicas"] == 3


def test_a_field_that_is_left_out_is_removed_and_foreign_fields_stay(api: Api, namespace: str) -> None:
    apply(api, [config_map("one", namespace, a="1", b="2")])
    ref = Ref(CONFIGMAPS, "one", namespace)
    api.merge_patch(ref, {"data": {"theirs": "3"}, "metadata": {"labels": {"who": "else"}}})
    assert apply(api, [config_map("one", namespace, a="1", b="2")])[0].action == "unchanged"
    result = apply(api, [config_map("one", namespace, a="1")])[0]
    assert (result.action, result.changed) == ("configured", ("data.b", "metadata.managedFields"))
    live = api.get(ref)
    assert live["data"] == {"a": "1", "theirs": "3"}
    assert live["metadata"]["labels"] == {"who": "else"}


def test_drift_is_put_right(api: Api, namespace: str) -> None:
    apply(api, [config_map("one", namespace, a="1")])
    ref = Ref(CONFIGMAPS, "one", namespace)
    api.merge_patch(ref, {"data": {"a": "changed by hand"}})
    assert apply(api, [config_map("one", namespace, a="1")])[0].changed == (
        "data.a",
        "metadata.managedFields",
    )
    assert api.get(ref)["data"] == {"a": "1"}


def test_owning_what_another_manager_wrote_is_a_change_once(api: Api, namespace: str) -> None:
    api.create(CONFIGMAPS, config_map("one", namespace, a="1"))
    first = apply(api, [config_map("one", namespace, a="1")])[0]
    assert (first.action, first.changed) == ("configured", ("metadata.managedFields",))
    assert apply(api, [config_map("one", namespace, a="1")])[0].action == "unchanged"


def test_scaling_by_another_manager_is_left_alone(api: Api, namespace: str) -> None:
    apply(api, [deployment(namespace)])
    api.merge_patch(Ref(DEPLOYMENTS, "x", namespace), {"spec": {"replicas": 5}}, subresource="scale")
    assert apply(api, [deployment(namespace)])[0].action == "unchanged"


def test_without_force_the_fields_of_others_are_a_conflict(api: Api, namespace: str) -> None:
    apply(api, [config_map("one", namespace, a="1", b="1")])
    api.server_side_apply(Ref(CONFIGMAPS, "one", namespace), {"data": {"a": "2"}}, manager="theirs")
    with pytest.raises(Conflict, match=r"theirs owns \.data\.a$"):
        apply(api, [config_map("one", namespace, a="3", b="1")], force=False)
    with pytest.raises(Conflict):
        apply(api, [config_map("one", namespace, a="3", b="1")], force=False, dry_run=True)
    # The same value is nobody's conflict, and neither is a field that they do not have.
    assert apply(api, [config_map("one", namespace, a="2", b="3")], force=False)[0].changed[0] == "data.b"


def test_an_object_can_be_looked_at_before_it_is_written(api: Api, namespace: str) -> None:
    api.create(CONFIGMAPS, config_map("one", namespace, a="1"))

    def admit(live: Object) -> None:
        raise BadInput("not this one", on=live["metadata"]["name"])

    with pytest.raises(BadInput, match="one"):
        apply(api, [config_map("one", namespace, a="2"), config_map("two", namespace)], admit=admit)
    assert api.get(Ref(CONFIGMAPS, "one", namespace))["data"] == {"a": "1"}
    assert api.find(Ref(CONFIGMAPS, "two", namespace)) is not None


def test_dry_run_writes_nothing(api: Api, namespace: str, control_plane: ControlPlane) -> None:
    apply(api, [config_map("one", namespace, a="1")])
    before = control_plane.writes()
    group = f"{namespace}.example"
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-new"}},
        crd(group),
        config_map("one", namespace, a="2"),
        config_map("two", namespace),
        config_map("three", f"{namespace}-new"),
        model(group, namespace),
    ]
    for admission in (False, True):
        actions = [item.action for item in apply(api, objects, dry_run=True, admission=admission)]
        assert actions == ["created", "created", "configured", "created", "created", "created"]
    assert control_plane.writes() == before
    with pytest.raises(Invalid):
        apply(api, [config_map("Not Valid", namespace)], dry_run=True, admission=True)


def test_namespace_definition_and_objects_of_it_in_one_apply(
    api: Api, namespace: str, control_plane: ControlPlane
) -> None:
    group = f"{namespace}.example"
    objects = [
        model(group, f"{namespace}-new", size="8b"),
        config_map("one", f"{namespace}-new"),
        crd(group),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-new"}},
    ]
    assert {item.action for item in apply(api, objects)} == {"created"}
    before = control_plane.writes()
    assert {item.action for item in apply(api, objects)} == {"unchanged"}
    assert control_plane.writes() == before
    resource = Resource(group, "v1", "models", "Model")
    assert api.get(Ref(resource, "llama", f"{namespace}-new"))["spec"] == {"size": "8b"}
    objects[0] = model(group, f"{namespace}-new", size="70b")
    assert [item.changed for item in apply(api, objects)] == [("spec.size",), (), (), ()]


def test_a_cluster_scoped_kind_with_a_namespace_in_the_manifest(api: Api, namespace: str) -> None:
    group = f"{namespace}.example"
    definition = crd(group, scope="Cluster")
    results = apply(api, [definition, model(group, "default")])
    assert str(results[1].ref) == "Model llama"
    assert apply(api, [model(group, "default")])[0].action == "unchanged"


def test_a_definition_whose_names_are_taken(api: Api, namespace: str) -> None:
    group = f"{namespace}.example"
    apply(api, [crd(group)])
    other = crd(group, "Model2")
    other["spec"]["names"]["kind"] = "Model"
    with pytest.raises(CapiLlmError, match='"Model" is already in use'):
        apply(api, [other], timeout=20)
    api.delete(Ref(CRDS, other["metadata"]["name"]))


def test_500_objects_the_second_time_without_a_write(
    api: Api, namespace: str, control_plane: ControlPlane
) -> None:
    objects = [config_map(f"c{number}", namespace, n=str(number)) for number in range(500)]
    before = len(control_plane.writes())
    assert [item.action for item in apply(api, objects)] == ["created"] * 500
    assert len(control_plane.writes()) - before == 500
    assert [item.action for item in apply(api, objects)] == ["unchanged"] * 500
    assert len(control_plane.writes()) - before == 500
    objects[7] = config_map("c7", namespace, n="seven")
    assert [item.ref.name for item in apply(api, objects) if item.action == "configured"] == ["c7"]
    assert len(control_plane.writes()) - before == 501


def test_all_failures_are_named_and_the_rest_is_applied(api: Api, namespace: str) -> None:
    objects = [
        config_map("good", namespace),
        config_map("Bad One", namespace),
        config_map("lost", "nowhere"),
        {"apiVersion": "nothing.example/v1", "kind": "Thing", "metadata": {"name": "t"}},
    ]
    with pytest.raises(CapiLlmError) as caught:
        apply(api, objects)
    text = str(caught.value)
    assert text.startswith("3 of 4 objects could not be applied: ")
    for part in (f"ConfigMap {namespace}/Bad One", 'namespaces "nowhere" not found', "no matches for kind"):
        assert part in text
    assert api.find(Ref(CONFIGMAPS, "good", namespace))


def test_failures_of_one_class_keep_it(api: Api, namespace: str) -> None:
    with pytest.raises(Invalid, match="2 of 2"):
        apply(api, [config_map("Bad One", namespace), config_map("Bad Two", namespace)])
    with pytest.raises(NotFound, match="2 of 2"):
        apply(api, [config_map("a", "nowhere"), config_map("b", "nowhere")])


def test_a_server_that_is_away_is_unavailable(control_plane: ControlPlane, tmp_path: Path) -> None:
    text = control_plane.kubeconfig.read_text().replace(f":{control_plane.port}", f":{free_port()}")
    (tmp_path / "config").write_text(text)
    with (
        Api.from_kubeconfig(tmp_path / "config", retry_for=0.2) as api,
        pytest.raises(Unavailable, match="5 of 5"),
    ):
        apply(api, [config_map(f"c{number}", "default") for number in range(5)])


@pytest.mark.parametrize(
    "objects",
    [
        [{"kind": "ConfigMap", "metadata": {"name": "a"}}],
        [{"apiVersion": "v1", "metadata": {"name": "a"}}],
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a"}}],
        [{"apiVersion": "v1", "kind": "ConfigMap"}],
        [config_map("a", "default"), config_map("a", "default", b="2")],
    ],
)
def test_bad_manifests_are_refused_before_anything_is_sent(
    api: Api, namespace: str, control_plane: ControlPlane, objects: list[Object]
) -> None:
    before = len(control_plane.audit())
    with pytest.raises(BadInput):
        apply(api, [config_map("good", namespace), *objects])
    assert len(control_plane.audit()) == before


def test_an_object_that_is_being_deleted_is_made_anew(api: Api, namespace: str) -> None:
    obj = config_map("one", namespace, a="1")
    held = api.create(CONFIGMAPS, obj | {"metadata": obj["metadata"] | {"finalizers": ["test.example/hold"]}})
    ref = Ref(CONFIGMAPS, "one", namespace)
    api.delete(ref)
    with pytest.raises(TimedOut, match=r"held by test.example/hold"):
        apply(api, [obj], timeout=0.3)
    release = threading.Timer(0.5, lambda: api.merge_patch(ref, {"metadata": {"finalizers": None}}))
    release.start()
    assert apply(api, [obj], timeout=20)[0].action == "created"
    release.join()
    assert api.get(ref)["metadata"]["uid"] != held["metadata"]["uid"]


def test_two_applies_at_once_agree(api: Api, namespace: str) -> None:
    objects = [config_map(f"c{number}", namespace, a="1") for number in range(40)]
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(apply, api, objects) for _ in range(3)]
        for run in runs:
            assert len(run.result()) == 40
    assert {item.action for item in apply(api, objects)} == {"unchanged"}


def test_apply_outlasts_a_restart_of_the_api_server(control_plane: ControlPlane, namespace: str) -> None:
    objects = [config_map(f"c{number}", namespace) for number in range(300)]
    bell = waiting.Wakeup()

    def restart() -> None:
        control_plane.kill_apiserver()
        bell.wait(0, 0.3)
        control_plane.start_apiserver()

    with Api.from_kubeconfig(control_plane.kubeconfig, retry_for=60) as api:
        timer = threading.Timer(0.2, restart)
        timer.start()
        assert len(apply(api, objects)) == 300
        timer.join()
        control_plane.start()
        assert {item.action for item in apply(api, objects)} == {"unchanged"}


def test_paths_of_a_difference() -> None:
    old: Object = {"metadata": {"annotations": {"a.b/c": "1"}, "generation": 1}, "list": [1, 2], "x": None}
    new: Object = {"metadata": {"annotations": {"a.b/c": "2"}, "generation": 2}, "list": [1], "y": 1}
    assert changed_paths(old, new, manager="m") == ("list", "metadata.annotations[a.b/c]", "x", "y")
    assert changed_paths(old, old, manager="m") == ()
    status = {"status": {"ready": True}}
    assert changed_paths(old, old | status, manager="m") == ()
    assert changed_paths(old, old | status, manager="m", status=True) == ("status",)


def test_namespaces_of_another_manager_are_conflicts_never(api: Api, namespace: str) -> None:
    ref = Ref(NAMESPACES, namespace)
    api.server_side_apply(ref, {"metadata": {"name": namespace, "labels": {"a": "theirs"}}}, manager="helm")
    ours = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {"a": "ours"}},
    }
    try:
        assert apply(api, [ours])[0].changed == ("metadata.labels.a", "metadata.managedFields")
    except Conflict as error:
        pytest.fail(str(error))
