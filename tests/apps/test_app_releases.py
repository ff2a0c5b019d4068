"""Which values an app gets, who said them, and in which order apps go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_bundles import config, make, release

from capi_llm.apps import catalogue, course, releases, selection
from capi_llm.apps import values as merging
from capi_llm.apps.bundle import Bundle
from capi_llm.apps.engine import AppStatus, Release, Target
from capi_llm.apps.helm import Facts, Helm
from capi_llm.apps.releases import Said
from capi_llm.apps.selection import Selection
from capi_llm.errors import BadInput, NotFound, Refused
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from capi_llm.waiting import failed, pending, ready

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "serving": {"enum": ["knative", "deployment"]},
        "size": {"type": "integer"},
        "more": {"type": "object"},
        "list": {"type": "array"},
        "configHash": {"type": "string"},
    },
}
VALUES = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\ndata: {v: {{ toJson .Values | quote }}}\n"


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    settings = Settings.from_environment()
    return Helm(executables.one(settings, "helm"), tmp_path_factory.mktemp("cache"))


@pytest.fixture
def bundles(tmp_path: Path) -> tuple[Bundle, ...]:
    helm = {"values": {"size": 1, "more": {"a": 1, "b": 1}, "list": [1, 2]}}
    make(tmp_path, "model", {"x": VALUES}, schema=SCHEMA, helm=helm)
    make(tmp_path, "gateway", {"x": VALUES}, schema=SCHEMA, dependsOn=[{"name": "model"}])
    make(tmp_path, "network", {"x": VALUES}, labels={"capi-llm.dev/planes": "kind"})
    return catalogue.load_dir(tmp_path)


def of(bundles: tuple[Bundle, ...], helm: Helm, said: Said, kind: str = "sandbox") -> dict[str, Any]:
    return {item.app: item for item in releases.of(bundles, kind, Target("demo"), said, helm.set)}


def test_the_later_word_wins_and_maps_are_merged(
    bundles: tuple[Bundle, ...], helm: Helm, tmp_path: Path
) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("model: {size: 3, more: {b: 3}}\n")
    said = Said(
        settings={"model": {"size": 2, "more": {"a": 2}, "list": [9]}},
        files=(path,),
        sets=("model.more.c=4,model.more.d=x", "gateway.size=5"),
    )
    found = of(bundles, helm, said)
    assert found["model"].values == {
        "serving": "deployment",
        "size": 3,
        "more": {"a": 2, "b": 3, "c": 4, "d": "x"},
        "list": [9],
    }
    assert found["gateway"].values["size"] == 5
    assert of(bundles, helm, Said(), "kind")["model"].values["serving"] == "knative"


def older(folder: Path) -> Bundle:
    """A bundle that is another on Kubernetes 1.30."""
    selector = {"matchLabels": {"capi-llm.dev/kubernetes": "1.30"}}
    custom = {"size": 0, "more": {"a": 0, "b": 0}}
    return make(
        folder, "model", {"x": VALUES}, schema=SCHEMA,
        helm={"values": {"size": 1, "more": {"a": 1, "b": 1, "c": 1}}},
        targetCustomizations=[{"clusterSelector": selector, "helm": {"values": custom}}],
    )  # fmt: skip


def test_an_older_kubernetes_has_its_own_values_below_those_that_are_said(tmp_path: Path, helm: Helm) -> None:
    bundle = older(tmp_path)

    def of_minor(kubernetes: str, said: Said = Said()) -> Release:  # noqa: B008  frozen
        target = Target("demo", kubernetes=kubernetes)
        (found,) = releases.of([bundle], "sandbox", target, said, helm.set)
        return found

    said = Said({"model": {"more": {"a": 2}}}, sets=("model.size=3",))
    assert of_minor("1.30").values["more"] == {"a": 0, "b": 0, "c": 1}
    assert (of_minor("1.30", said).values["more"], of_minor("1.30", said).values["size"]) == (
        {"a": 2, "b": 0, "c": 1}, 3,
    )  # fmt: skip
    assert of_minor("1.31").values == of_minor("").values
    place = merging.place_of(of_minor("1.30"), "more.b")
    assert "targetCustomizations[0].helm.values.more.b" in place

    # Fleet merges what it chooses over everything: only what nobody else says is left to it.
    (left,) = of_minor("").bundle.customizations
    assert left.values == {"size": 0, "more": {"a": 0, "b": 0}}
    (left,) = of_minor("", said).bundle.customizations
    assert left.values == {"more": {"b": 0}}


@pytest.mark.parametrize("names", [(), ("model",)])
def test_a_kubernetes_that_is_too_old_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    bundle, other = older(tmp_path), make(tmp_path, "other", {"x": VALUES})
    settings = replace(Settings.from_environment(), apps=None)

    def on(kubernetes: str) -> Selection:
        target = Target("demo", "team", kubernetes=kubernetes)
        return selection.of(settings, "sandbox", target, (bundle, other), ())

    for minor in ("", "1.30", "1.31"):
        assert "model" in [item.app for item in on(minor).choose(names)]
    with pytest.raises(Refused, match=r"app 'model' is not for Kubernetes 1.29") as caught:
        on("1.29").choose(names)
    assert caught.value.on == "cluster team/demo"
    assert caught.value.why == f"{bundle.document.at('targetCustomizations')} begins with 1.30"
    assert "take a cluster of Kubernetes 1.30 or newer" in caught.value.fix
    assert [item.app for item in on("1.29").choose(["other"])] == ["other"]


def test_pods_change_with_what_configures_them(bundles: tuple[Bundle, ...], helm: Helm) -> None:
    def hash_of(said: Said) -> str:
        return str(of(bundles, helm, said)["gateway"].values["configHash"])

    assert hash_of(Said()) == hash_of(Said())
    assert hash_of(Said()) != hash_of(Said(settings={"model": {"size": 2}}))
    assert hash_of(Said(settings={"gateway": {"configHash": "mine"}})) == "mine"
    assert "configHash" not in of(bundles, helm, Said())["model"].values


@pytest.mark.parametrize(
    ("said", "place", "words"),
    [
        (Said(settings={"model": {"size": "x"}}, where="c.yaml:3: apps.values"),
         "c.yaml:3: apps.values.model: size:", "Expected: integer"),
        (Said(settings={"model": {"sizes": 1}}), "apps.values.model: sizes:", "sizes is not allowed"),
        (Said(sets=("model.size=x",)), "--set model: size:", "Expected: integer"),
        (Said(sets=("model.serving=docker",)), "--set model: serving:", "must be one of"),
    ],
)  # fmt: skip
def test_helm_checks_values_and_the_place_is_told(
    bundles: tuple[Bundle, ...], helm: Helm, said: Said, place: str, words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        helm.template(of(bundles, helm, said)["model"], Facts())
    assert str(caught.value).startswith(place), str(caught.value)
    assert words in str(caught.value)


def test_a_file_with_a_value_that_does_not_fit(
    bundles: tuple[Bundle, ...], helm: Helm, tmp_path: Path
) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("model:\n  more: {a: 1}\n  size: big\n")
    with pytest.raises(BadInput) as caught:
        helm.template(of(bundles, helm, Said(files=(path,)))["model"], Facts())
    assert str(caught.value).startswith(f"{path}:3: model.size: the value does not fit app model")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle: {}\n", ":1: modle: app 'modle' is not known"),
        ("model: 1\n", ":1: model: it is not a map of values"),
        ("- a\n", "one map of apps and their values"),
        ("model: {}\nmodel: {}\n", ":2"),
    ],
)
def test_files_that_can_not_be(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "v.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        merging.of_file(tmp_path / "v.yaml", ["model"])
    assert words in str(caught.value)
    with pytest.raises(NotFound):
        merging.of_file(tmp_path / "none.yaml", ["model"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model", "is not APP.VALUE"),
        ("model=1", "is not APP.VALUE"),
        ("modle.a=1", "did you mean 'model'"),
        ("model.apiKey=sk-1234567890", "a secret does not belong into a command line"),
    ],
)
def test_sets_that_can_not_be(text: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        merging.check_sets([text], ["model"])
    assert words in str(caught.value)
    assert "1234567890" not in str(caught.value)


def test_a_set_that_helm_can_not_read(bundles: tuple[Bundle, ...], helm: Helm) -> None:
    with pytest.raises(BadInput, match="--set can not be read"):
        of(bundles, helm, Said(sets=("model.list[=1",)))


def test_which_apps_are_wanted(bundles: tuple[Bundle, ...]) -> None:
    def names(said: list[str] | None, kind: str = "sandbox") -> list[str]:
        return [bundle.name for bundle in releases.wanted(bundles, said, kind, "--apps")]

    assert names(None) == ["model", "gateway"]
    assert sorted(names(None, "kind")) == ["gateway", "model", "network"]
    assert names(["gateway", "model"]) == ["model", "gateway"]
    assert names(["none"]) == []
    with pytest.raises(BadInput, match="did you mean 'model'"):
        names(["modle"])
    with pytest.raises(Refused, match="app 'network' is not for clusters of a sandbox: it fits kind"):
        names(["network"])


def test_a_network_is_for_clusters_of_its_name(tmp_path: Path) -> None:
    labels = {"capi-llm.dev/cni": "calico"}
    net = make(tmp_path, "net", {"x": VALUES}, labels=labels)
    assert releases.wanted([net], None, "kind", "--apps", "calico") == (net,)
    assert releases.wanted([net], None, "kind", "--apps", "kindnet") == ()
    with pytest.raises(Refused, match="app 'net' is the network of other clusters") as caught:
        releases.wanted([net], ["net"], "kind", "--apps", "kindnet")
    assert caught.value.why == "the network of this one is kindnet"


def test_a_deployment_needs_no_knative(tmp_path: Path, helm: Helm) -> None:
    make(tmp_path, "operator", {"x": VALUES}, labels={"capi-llm.dev/serving": "knative"})
    make(tmp_path, "model", {"x": VALUES}, schema=SCHEMA, dependsOn=[{"name": "operator"}])
    bundles = catalogue.load_dir(tmp_path)
    knative = of(bundles, helm, Said(), "kind")
    assert releases.needs(knative["model"], bundles) == {"operator"}
    assert releases.idle(tuple(knative.values())) == set()
    plain = of(bundles, helm, Said({"model": {"serving": "deployment"}}), "kind")
    assert releases.needs(plain["model"], bundles) == set()
    assert releases.idle(tuple(plain.values())) == {"operator"}


def test_what_runs_beside_the_cluster_object_is_named_by_it(tmp_path: Path, helm: Helm) -> None:
    schema = {"properties": {"autoDiscovery": {}, "clusterAPIKubeconfigSecret": {}}}
    labels = {"capi-llm.dev/place": "management"}
    scaler = make(tmp_path, "scaler", {"x": VALUES}, schema=schema, labels=labels)
    (found,) = releases.of([scaler], "kind", Target("demo", "team"), Said(), helm.set)
    assert (found.name, found.namespace) == ("demo-scaler", "team")
    assert found.values == {
        "autoDiscovery": {"clusterName": "demo", "namespace": "team"},
        "clusterAPIKubeconfigSecret": "demo-kubeconfig",
    }
    with pytest.raises(BadInput, match="too long"):
        releases.of([scaler], "kind", Target("d" * 50), Said(), helm.set)


def test_calicos_pool_is_the_clusters_pod_network(helm: Helm) -> None:
    (calico,) = catalogue.choose(catalogue.shipped(), ["calico"], "APP")

    def pools(*pods: str, said: Said = Said()) -> list[dict[str, str]]:  # noqa: B008  frozen
        (found,) = releases.of([calico], "kind", Target("demo", pods=pods), said, helm.set)
        network: dict[str, Any] = found.values["installation"]["calicoNetwork"]
        assert network["mtu"] == 1350
        own: list[dict[str, str]] = network["ipPools"]
        return own

    assert pools("10.4.0.0/16") == [{"cidr": "10.4.0.0/16", "encapsulation": "VXLAN"}]
    assert pools() == [{"cidr": "192.168.0.0/16", "encapsulation": "VXLAN"}]
    mine = {"installation": {"calicoNetwork": {"ipPools": [{"cidr": "10.4.0.0/17"}]}}}
    assert pools("10.4.0.0/16", said=Said({"calico": mine})) == [{"cidr": "10.4.0.0/17"}]


def test_rounds_and_removal_follow_the_dependencies(tmp_path: Path) -> None:
    for name, needs in {"a": "", "b": "a", "c": "a", "d": "bc"}.items():
        make(tmp_path, name, {"x": config(name)}, dependsOn=[{"name": other} for other in needs])
    bundles = catalogue.load_dir(tmp_path)
    every = [release(bundle) for bundle in bundles]
    levels = [[item.app for item in level] for level in course.by_level(every)]
    assert [sorted(level) for level in levels] == [["a"], ["b", "c"], ["d"]]
    alone = [item for item in every if item.app == "d"]
    assert [[item.app for item in level] for level in course.by_level(alone)] == [["d"]]

    assert course.removal(bundles, ["a", "b", "d"], []) == ["d", "b", "a"]
    assert course.removal(bundles, ["a", "b", "old"], []) == ["old", "b", "a"]
    assert course.removal(bundles, ["a"], ["b"]) == []
    with pytest.raises(Refused, match="app 'b' is needed by 'd', which would stay"):
        course.removal(bundles, ["a", "b", "d"], ["b"])
    with pytest.raises(BadInput, match="app 'x' is not known"):
        course.removal(bundles, ["a"], ["x"])


def test_the_verdict_of_several() -> None:
    good, slow = AppStatus("a", ready()), AppStatus("b", pending("not yet", fix="wait"))
    bad = AppStatus("c", failed("broken", cause="a reason"))
    assert course.verdict([good]).ready
    assert course.verdict([good, slow]) == pending("1 of 2 apps are ready; b: not yet", fix="wait")
    found = course.verdict([good, slow, bad])
    assert found.failed
    assert found.message == "1 of 3 apps are ready; c: broken"
