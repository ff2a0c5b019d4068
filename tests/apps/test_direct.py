"""Direct delivery on a real API server: inventory, pruning, conflicts, zero writes, crashes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_bundles import config, make, release, server

from audit import writes
from capi_llm.apps import applyset, pruning
from capi_llm.apps.direct import Direct
from capi_llm.apps.engine import Target
from capi_llm.apps.helm import Helm
from capi_llm.errors import BadInput, Conflict, Refused
from capi_llm.kube.resources import CONFIGMAPS, CRDS, NAMESPACES, SERVICES, Ref, Resource
from capi_llm.sandbox import executables
from capi_llm.waiting import Status, Waiter, pending, ready, until
from sandboxes import Sandbox

pytestmark = pytest.mark.sandbox


@pytest.fixture
def engine(sandbox: Sandbox, helm: Helm, namespace: str) -> Direct:
    return Direct(sandbox.api, sandbox.api, Target("demo", namespace), helm)


def since(sandbox: Sandbox, before: int) -> list[str]:
    return [
        f"{item.verb} {item.uri}"
        for item in writes(sandbox.ctx.sandbox.audit_log, agent="capi-llm/", after=before)
    ]


def log_size(sandbox: Sandbox) -> int:
    return sandbox.ctx.sandbox.audit_log.stat().st_size


def parent_of(sandbox: Sandbox, app: str) -> applyset.Parent:
    return applyset.read(sandbox.api.get(applyset.of_workload(app).ref))


def kubectl(sandbox: Sandbox, *argv: str) -> list[str]:
    command = [str(executables.paths(sandbox.settings)["kubectl"]), "--kubeconfig", str(sandbox.kubeconfig)]
    done = subprocess.run([*command, *argv], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_delivered_listed_and_the_second_time_not_a_write(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    app = make(
        tmp_path, f"{namespace}-a", {"c": config("one", a="1"), "d": server("web")}, namespace=namespace
    )
    assert [item.delivered for item in engine.status([app.name])] == [False]
    (done,) = engine.apply([release(app)])
    assert [item.action for item in done.objects] == ["created", "created"]
    assert done.writes == 2

    # The label finds all of it, with any tool.
    parent = parent_of(sandbox, app.name)
    members = kubectl(
        sandbox, "get", "configmaps,deployments", "-A", "-o", "name", "-l", f"{applyset.PART_OF}={parent.id}"
    )
    assert sorted(members) == ["configmap/one", "deployment.apps/web"]
    found = sandbox.api.get(parent.ref)["metadata"]
    assert found["labels"][applyset.ID] == parent.id
    assert found["annotations"] == {
        applyset.TOOLING: "capi-llm.dev/v1",
        applyset.KINDS: "ConfigMap,Deployment.apps",
        applyset.NAMESPACES: namespace,
    }

    with engine.watching() as bell:

        def probe():
            (status,) = engine.status([app.name])
            return status.status

        assert until(probe, what="the app", timeout=60, waiter=Waiter(bell)).message == "2 objects"
    (status,) = engine.status([app.name])
    assert (status.version, len(status.parts)) == ("0.1.0", 2)
    assert app.name in engine.delivered()

    before = log_size(sandbox)
    (again,) = engine.apply([release(app)])
    assert again.writes == 0
    assert len(again.objects) == 2
    assert {item.action for item in engine.diff([release(app)])} == {"none"}
    assert since(sandbox, before) == []


def test_what_left_the_bundle_is_deleted_and_nothing_else(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    templates = {
        "one": config("one", a="1"),
        "two": config("two", a="1"),
        "service": SERVICE,
        "kept": config("kept").replace(
            "metadata:", "metadata:\n  annotations: {helm.sh/resource-policy: keep}"
        ),
    }
    app = make(tmp_path, f"{namespace}-a", templates, namespace=namespace)
    other = make(tmp_path, f"{namespace}-b", {"c": config("theirs")}, namespace=namespace)
    engine.apply([release(app), release(other)])
    label = {applyset.PART_OF: parent_of(sandbox, app.name).id}
    # Not ours though they carry the label, as a controller copies it, and a person.
    strange = {"metadata": {"name": "strange", "namespace": namespace, "labels": label}}
    sandbox.api.create(CONFIGMAPS, strange)
    sandbox.api.create(CONFIGMAPS, {"metadata": {"name": "bystander", "namespace": namespace}})

    less = make(tmp_path, f"{namespace}-a", {"one": templates["one"]}, namespace=namespace)
    assert [str(item.ref) for item in engine.diff([release(less)]) if item.action == "delete"] == [
        f"ConfigMap {namespace}/two",
        f"Service {namespace}/web",
    ]
    (done,) = engine.apply([release(less)])
    assert sorted(map(str, done.pruned)) == [f"ConfigMap {namespace}/two", f"Service {namespace}/web"]
    assert [str(ref) for ref in done.kept] == [f"ConfigMap {namespace}/kept"]
    left = {obj["metadata"]["name"] for obj in sandbox.api.list(CONFIGMAPS, namespace)}
    assert left - {"kube-root-ca.crt"} == {"one", "kept", "theirs", "strange", "bystander"}
    assert sandbox.api.list(SERVICES, namespace) == []
    assert parent_of(sandbox, app.name).kinds == {("", "ConfigMap")}

    (removed,) = engine.remove([app.name])
    assert [str(ref) for ref in removed.deleted] == [f"ConfigMap {namespace}/one"]
    assert engine.remove([app.name]) == []
    left = {obj["metadata"]["name"] for obj in sandbox.api.list(CONFIGMAPS, namespace)}
    assert left - {"kube-root-ca.crt"} == {"kept", "theirs", "strange", "bystander"}


SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: x}, ports: [{port: 80}]}
"""

DIE = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from capi_llm.kube.client import Api
from capi_llm.apps import fleetfile
from capi_llm.apps.direct import Direct
from capi_llm.apps.engine import Target
from capi_llm.apps.helm import Helm
from small_bundles import release
left, real = int(sys.argv[1]), Api.request
def request(self, method, path, *, query=None, **more):
    global left
    answer = real(self, method, path, query=query, **more)
    if method != "GET" and (query or {{}}).get("dryRun") != "All":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return answer
Api.request = request
api = Api.from_kubeconfig(Path({kubeconfig!r}))
engine = Direct(api, api, Target("demo"), Helm(Path({helm!r}), Path({cache!r})))
engine.apply([release(fleetfile.read(Path({folder!r})))])
"""


def test_pruning_is_exact_after_a_crash_at_every_write(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    """From a ConfigMap and a Service to two ConfigMaps: killed after each write, then run again."""
    killed = 0
    for number in range(1, 10):
        name, space = f"{namespace}-{number}", f"{namespace}-{number}"
        old = make(tmp_path, name, {"s": SERVICE, "one": config("one")}, namespace=space)
        engine.apply([release(old)])
        new = make(tmp_path, name, {"one": config("one", a="2"), "two": config("two")}, namespace=space)
        script = DIE.format(
            path=[str(Path(__file__).parent), str(Path(__file__).parent.parent)],
            kubeconfig=str(sandbox.kubeconfig),
            helm=str(executables.paths(sandbox.settings)["helm"]),
            cache=str(tmp_path / "cache"),
            folder=str(new.folder),
        )
        done = subprocess.run([sys.executable, "-c", script, str(number)], capture_output=True, text=True)
        killed += done.returncode == -9
        assert done.returncode in (0, -9), done.stderr
        engine.apply([release(new)])
        left = {obj["metadata"]["name"] for obj in sandbox.api.list(CONFIGMAPS, space)} - {"kube-root-ca.crt"}
        assert left == {"one", "two"}
        assert sandbox.api.list(SERVICES, space) == []
        parent = parent_of(sandbox, name)
        assert (parent.whole, parent.kinds) == (True, {("", "ConfigMap")})
        before = log_size(sandbox)
        assert engine.apply([release(new)])[0].writes == 0
        assert since(sandbox, before) == []
        if done.returncode == 0:
            break
    assert killed >= 4, "parent, two objects, the Service's deletion, the parent again"


def test_conflicts_name_the_owner_and_its_fields_and_can_be_taken_over(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    app = make(
        tmp_path,
        f"{namespace}-a",
        {"c": config("one", a="1"), "d": config("two", a="1")},
        namespace=namespace,
    )
    engine.apply([release(app)])
    ref = Ref(CONFIGMAPS, "one", namespace)
    sandbox.api.server_side_apply(ref, {"data": {"a": "9"}}, manager="somebody", force=True)
    newer = make(
        tmp_path,
        f"{namespace}-a",
        {"c": config("one", a="2"), "d": config("two", a="2")},
        namespace=namespace,
    )
    before = log_size(sandbox)
    with pytest.raises(Conflict) as caught:
        engine.apply([release(newer)])
    assert f"ConfigMap {namespace}/one" in str(caught.value)
    assert "somebody owns .data.a" in str(caught.value)
    assert f"capi-llm apps apply demo {app.name} -n {namespace} --force-conflicts" in str(caught.value)
    assert since(sandbox, before) == [], "nothing is applied by halves"
    (conflict,) = [item for item in engine.diff([release(newer)]) if item.conflict]
    assert (str(conflict.ref), conflict.conflict) == (f"ConfigMap {namespace}/one", "somebody owns .data.a")
    assert not any(item.conflict for item in engine.diff([release(newer)], force=True))
    (done,) = engine.apply([release(newer)], force=True)
    assert sandbox.api.get(ref)["data"] == {"a": "2"}
    assert [item.action for item in done.objects] == ["configured", "configured"]


def test_an_object_of_another_app_is_refused(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    one = make(tmp_path, f"{namespace}-a", {"c": config("shared", a="1")}, namespace=namespace)
    two = make(tmp_path, f"{namespace}-b", {"c": config("shared", a="2")}, namespace=namespace)
    engine.apply([release(one)])
    with pytest.raises(Refused, match=f"it is part of app {namespace}-a"):
        engine.apply([release(two)])
    assert sandbox.api.get(Ref(CONFIGMAPS, "shared", namespace))["data"] == {"a": "1"}


def test_an_inventory_of_another_tool_is_left_alone(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    app = make(tmp_path, f"{namespace}-a", {"c": config("one")}, namespace=namespace)
    engine.apply([release(app)])
    ref = parent_of(sandbox, app.name).ref
    sandbox.api.merge_patch(ref, {"metadata": {"annotations": {applyset.TOOLING: "kubectl/v1.32"}}})
    with pytest.raises(Refused, match="kept by another tool"):
        engine.apply([release(app)])
    sandbox.api.delete(ref)


def test_drift_is_seen_and_put_right(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    app = make(
        tmp_path, f"{namespace}-a", {"c": config("one", a="1"), "d": config("two")}, namespace=namespace
    )
    engine.apply([release(app)])
    sandbox.api.delete(Ref(CONFIGMAPS, "two", namespace))
    sandbox.api.server_side_apply(
        Ref(CONFIGMAPS, "one", namespace), {"data": {"a": "9"}}, manager="kubectl-edit", force=True
    )
    (status,) = engine.status([app.name])
    assert status.status.message == f"ConfigMap {namespace}/two: is missing"
    differences = {str(item.ref): item for item in engine.diff([release(app)])}
    assert differences[f"ConfigMap {namespace}/two"].action == "create"
    (change,) = differences[f"ConfigMap {namespace}/one"].changes
    assert (change.path, change.old, change.new) == ("data.a", "9", "1")
    engine.apply([release(app)], force=True)
    assert sandbox.api.get(Ref(CONFIGMAPS, "one", namespace))["data"] == {"a": "1"}
    assert engine.status([app.name])[0].status == ready("2 objects")


CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.GROUP}
spec:
  group: GROUP
  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}
  scope: SCOPE
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""


def test_rules_that_kubernetes_fills_in_are_left_to_it(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    """Knative's operator has such a ClusterRole: a second apply was in conflict with its controller."""
    name = f"{namespace}-whole"
    labels = {f"{namespace}/part": "true"}
    whole = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": labels}]}, "rules": []}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    made = {
        "whole": yaml.safe_dump(role | {"metadata": {"name": name}} | whole),
        "part": yaml.safe_dump(
            role | {"metadata": {"name": f"{namespace}-part", "labels": labels}, "rules": rules}
        ),
    }
    app = make(tmp_path, f"{namespace}-r", made, namespace=namespace)
    engine.apply([release(app)])
    roles = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)

    def filled() -> Status:
        return ready() if sandbox.api.get(Ref(roles, name)).get("rules") == rules else pending("not yet")

    until(filled, what="the rules that the controller collects", timeout=30)
    before = log_size(sandbox)
    engine.apply([release(app)])
    assert since(sandbox, before) == []
    engine.remove([app.name])


def test_definitions_come_first_and_stay_behind(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    group = f"{namespace}.example.com"
    templates = {
        "a-thing": f"apiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: one}}\n",
        "crd": CRD.replace("GROUP", group).replace("SCOPE", "Cluster"),
    }
    app = make(tmp_path, f"{namespace}-a", templates, namespace=f"{namespace}-new")
    (rendered,) = engine.render([release(app)])
    thing = next(obj for obj in rendered.objects if obj["kind"] == "Thing")
    assert "namespace" not in thing["metadata"], "its definition, in the same chart, says so"
    assert {item.action for item in engine.diff([release(app)])} == {"create"}
    engine.apply([release(app)])
    before = log_size(sandbox)
    assert engine.apply([release(app)])[0].writes == 0
    assert since(sandbox, before) == []
    (removed,) = engine.remove([app.name])
    assert [str(ref) for ref in removed.deleted] == ["Thing one"]
    assert [str(ref) for ref in removed.kept] == [f"CustomResourceDefinition things.{group}"]
    sandbox.api.delete(Ref(CRDS, f"things.{group}"))
    assert sandbox.api.find(Ref(NAMESPACES, f"{namespace}-new")) is not None


def test_an_app_for_each_cluster_on_the_management_side(
    sandbox: Sandbox, helm: Helm, namespace: str, tmp_path: Path
) -> None:
    labels = {"capi-llm.dev/place": "management"}
    app = make(tmp_path, f"{namespace}-a", {"c": config("x{{ .Release.Name }}")}, labels=labels)
    one = Direct(sandbox.api, sandbox.api, Target("one", namespace), helm)
    two = Direct(sandbox.api, sandbox.api, Target("two", namespace), helm)
    for engine, name in ((one, "one"), (two, "two")):
        said = release(app)
        engine.apply([type(said)(app, f"{name}-{app.name}", namespace, {})])
    assert app.name in one.delivered()
    two.remove([app.name])
    assert app.name not in two.delivered()
    assert app.name in one.delivered()
    one.remove([app.name])


@pytest.mark.parametrize(
    ("templates", "words"),
    [
        ({"x": "{{ fail `no model` }}"}, "templates/x.yaml:1:3): no model"),
        ({"x": "a: ["}, "templates/x.yaml"),
        ({"x": "kind: ConfigMap\nmetadata: {name: a}\n---\n{{ .Values.a.b }}"}, "templates/x.yaml:4:10"),
        ({"x": "apiVersion: v1\nkind: ConfigMap\n"}, "no metadata.name"),
        ({"x": config("a"), "y": config("a")}, "ConfigMap llm a is there twice"),
    ],
)
def test_a_chart_that_can_not_be_rendered(
    engine: Direct, tmp_path: Path, templates: dict[str, str], words: str
) -> None:
    app = make(tmp_path, "broken", templates)
    with pytest.raises(BadInput) as caught:
        engine.render([release(app)])
    assert str(caught.value).startswith(f"app broken can not be rendered ({app.folder})")
    assert words in str(caught.value)


def test_what_the_chart_is_told_about_the_cluster_and_hooks(engine: Direct, tmp_path: Path) -> None:
    text = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: facts}
data:
  version: "{{ .Capabilities.KubeVersion.Version }}"
  capi: "{{ .Capabilities.APIVersions.Has "cluster.x-k8s.io/v1beta1/Cluster" }}"
  none: "{{ .Capabilities.APIVersions.Has "none.example.com/v1" }}"
  date: 2024-01-01
"""
    hook = "metadata:\n  annotations: {helm.sh/hook: %s}"
    app = make(
        tmp_path,
        "facts",
        {
            "c": text,
            "t": config("tested").replace("metadata:", hook % "test"),
            "d": config("deleted").replace("metadata:", hook % "post-delete"),
            "i": config("installed").replace("metadata:", hook % "'post-install,post-upgrade'"),
        },
    )
    (rendered,) = engine.render([release(app)])
    data = {obj["metadata"]["name"]: obj["data"] for obj in rendered.objects}
    assert data.keys() == {"facts", "installed"}
    assert data["facts"] == {"version": "v1.32.2", "capi": "true", "none": "false", "date": "2024-01-01"}
    assert {obj["metadata"]["namespace"] for obj in rendered.objects} == {"llm"}


def test_members_are_looked_for_only_where_the_parent_says(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    app = make(tmp_path, f"{namespace}-a", {"c": config("one")}, namespace=namespace)
    engine.apply([release(app)])
    parent = parent_of(sandbox, app.name)
    elsewhere = applyset.labelled(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{namespace}-elsewhere", "namespace": "default"},
        },
        parent,
    )
    sandbox.api.server_side_apply(
        Ref(CONFIGMAPS, f"{namespace}-elsewhere", "default"), elsewhere, manager="capi-llm"
    )
    from capi_llm.kube.discovery import Discovery

    found = pruning.members(sandbox.api, Discovery(sandbox.api), parent)
    assert [str(ref) for ref, _ in found] == [f"ConfigMap {namespace}/one"]
    sandbox.api.delete(Ref(CONFIGMAPS, f"{namespace}-elsewhere", "default"))
