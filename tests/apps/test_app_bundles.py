"""Bundles: what fleet.yaml may say, what is refused and where, and their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from capi_llm.apps import bundle, catalogue, fleetfile
from capi_llm.apps.selection import bundles_of
from capi_llm.errors import BadInput, NotFound
from capi_llm.settings import Settings

CUSTOM = "targetCustomizations:\n  - {}\n"
MINOR = "targetCustomizations:\n  - clusterSelector: {{matchLabels: {{capi-llm.dev/kubernetes: {}}}}}\n"
OTHERS = "helm: {chart: x, repo: 'https://a.b', version: 1.0.0}\n"
CHART = "apiVersion: v2\nname: {}\nversion: 0.1.0\ndescription: A test.\n"


def write(folder: Path, fleet: str, *, chart: bool = True, schema: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fleet.yaml").write_text(fleet)
    if chart:
        (folder / "Chart.yaml").write_text(CHART.format(folder.name))
    if schema:
        (folder / "values.schema.json").write_text(schema)
    return folder


def test_a_chart_of_our_own(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "ollama",
        """\
name: ollama
defaultNamespace: llm
labels: {capi-llm.dev/planes: kind.sandbox, capi-llm.dev/place: workload}
helm: {releaseName: oll, values: {serving: knative}}
dependsOn: [{name: knative}]
diff: {comparePatches: [{apiVersion: v1, kind: Service, jsonPointers: [/spec]}]}
""",
        schema='{"properties": {"serving": {}}}',
    )
    found = fleetfile.read(folder)
    assert (found.name, found.namespace, found.release, found.version) == ("ollama", "llm", "oll", "0.1.0")
    assert (found.chart, found.depends_on, found.place) == (None, ("knative",), "workload")
    assert found.planes == ("kind", "sandbox")
    assert found.fits("sandbox")
    assert not found.fits("existing")
    assert found.values == {"serving": "knative"}
    assert found.knows("serving")
    assert not found.knows("models")
    assert found.compare_patches[0]["kind"] == "Service"
    assert found.description == "A test."


def test_a_chart_of_somebody_else_and_what_is_taken_where_nothing_is_said(tmp_path: Path) -> None:
    fleet = "helm: {chart: metrics-server, repo: 'https://example.com/charts', version: 3.12.2}\n"
    found = fleetfile.read(write(tmp_path / "metrics-server", fleet, chart=False))
    assert found.chart == bundle.Chart("metrics-server", "https://example.com/charts", "3.12.2")
    assert (found.name, found.release, found.namespace) == ("metrics-server", "metrics-server", "default")
    assert found.planes == bundle.KINDS
    assert found.schema is None
    oci = "helm: {chart: 'oci://example.com/charts/x', version: 1.0.0}\n"
    assert fleetfile.read(write(tmp_path / "x", oci, chart=False)).chart is not None


@pytest.mark.parametrize(
    ("fleet", "place", "words"),
    [
        ("name: Ollama\n", ":1: name", "use 'ollama'"),
        ("name: a\ndependOn: []\n", ":2: dependOn", "did you mean 'dependsOn'"),
        ("name: a\nkustomize: {dir: x}\n", ":2: kustomize", "does not follow"),
        ("helm:\n  valuesFiles: [a.yaml]\n", ":2: helm.valuesFiles", "helm.values"),
        ("helm:\n  values: [1]\n", ":2: helm.values", "not a map"),
        ("helm:\n  chart: ./x\n", ":2: helm.chart", "no chart of a repository"),
        ("helm:\n  chart: x\n  repo: 'http://a.b'\n  version: 1.0.0\n", ":3: helm.repo", "https://"),
        ("helm:\n  chart: x\n  repo: 'https://a.b'\n", ": helm.version", "the version is missing"),
        ("helm:\n  chart: x\n  repo: 'https://a.b'\n  version: '>1'\n", ":4: helm.version", "pin one"),
        ("helm:\n  releaseName: " + "a" * 54 + "\n", ":2: helm.releaseName", "at most 53"),
        ("labels: {capi-llm.dev/planes: kind.docker}\n", "labels.capi-llm.dev/planes", "'docker'"),
        ("labels: {capi-llm.dev/place: here}\n", "labels.capi-llm.dev/place", "'here'"),
        ("labels: {a b: c}\n", "labels.a b", "not a label's key"),
        ("dependsOn: [knative]\n", "dependsOn[0]", "- name: OTHER"),
        ("dependsOn: {name: a}\n", ":1: dependsOn", "not a list"),
        ("diff: {comparePatches: a}\n", "diff.comparePatches", "not a list"),
        ("name: a\nname: b\n", ":2", "twice"),
        ("name: [\n", ":2", "not YAML"),
        ("name: a\n---\nname: b\n", "fleet.yaml", "it holds 2"),
        ("name: 1\n", ":1: name", "not a text"),
        ("targetCustomizations: {a: b}\n", ":1: targetCustomizations", "not a list"),
        (CUSTOM.format("a: b"), ":2: targetCustomizations[0].a: key", "'a' is not known"),
        (CUSTOM.format("doNotDeploy: true"), "[0].doNotDeploy", "choose clusters by their Kubernetes"),
        (CUSTOM.format("clusterGroup: a"), "[0].clusterGroup", "does not follow"),
        (CUSTOM.format("helm: {}"), "[0].clusterSelector.matchLabels", "kubernetes alone"),
        (CUSTOM.format("clusterSelector: {matchLabels: {env: a}}"), ".matchLabels", "kubernetes alone"),
        (CUSTOM.format("clusterSelector: {matchExpressions: []}"), ".matchExpressions", "matchLabels: {"),
        (MINOR.format("1.30"), ".matchLabels.capi-llm.dev/kubernetes", 'write "1.32", in quotes'),
        (MINOR.format("v1.30.0"), ".matchLabels.capi-llm.dev/kubernetes", "not a Kubernetes minor"),
        (MINOR.format("'1.30', x: y"), ".matchLabels", "kubernetes alone"),
        (MINOR.format("'1.30'") + "    helm: {version: 1.0.0}\n", ":3: targetCust", "leave it out"),
        (
            MINOR.format("'1.30'") + "    helm: {chart: x}\n",
            ":3: targetCustomizations[0].helm.chart",
            "known",
        ),
        (MINOR.format("'1.30'") + "    helm: {values: [1]}\n", ":3: targetCust", "not a map"),
        (MINOR.format("'1.30'") + MINOR.format("'1.30'")[21 + 1 :], "[1]", "two for Kubernetes 1.30"),
        (OTHERS + MINOR.format("'1.30'") + "    helm: {version: '>1'}\n", "[0].helm.version", "pin one"),
    ],
)
def test_refusals_have_file_line_and_place(tmp_path: Path, fleet: str, place: str, words: str) -> None:
    folder = write(tmp_path / "a", fleet)
    with pytest.raises(BadInput) as caught:
        fleetfile.read(folder)
    text = str(caught.value)
    assert text.startswith(str(folder / "fleet.yaml")), text
    assert place in text
    assert words in text


def test_what_is_different_on_an_older_kubernetes(tmp_path: Path) -> None:
    fleet = """\
helm: {chart: x, repo: 'https://a.b', version: 3.0.0, values: {a: 1}}
targetCustomizations:
  - name: newer
    clusterSelector: {matchLabels: {capi-llm.dev/kubernetes: "1.30"}}
    helm: {version: 2.0.0, values: {a: 2}}
  - clusterSelector: {matchLabels: {capi-llm.dev/kubernetes: "1.9"}}
    helm: {values: {a: 3}}
"""
    found = fleetfile.read(write(tmp_path / "a", fleet, chart=False))
    assert [item.kubernetes for item in found.customizations] == ["1.9", "1.30"]
    versions = {minor: found.on(minor).version for minor in ("", "1.8", "1.9", "1.29", "1.30", "1.31")}
    assert versions == {
        "": "3.0.0", "1.8": "3.0.0", "1.9": "3.0.0", "1.29": "3.0.0", "1.30": "2.0.0", "1.31": "3.0.0"
    }  # fmt: skip
    assert found.on("1.30").chart == bundle.Chart("x", "https://a.b", "2.0.0")
    assert found.on("1.30").digest != found.on("1.31").digest
    # Where the Kubernetes is known, nothing is left to choose.
    assert found.on("") is found
    assert found.on("1.31").customizations == ()
    own = found.customization("1.30")
    assert own is not None
    assert own.values == {"a": 2}
    assert (
        found.document.at(*own.below, "a")
        == f"{tmp_path}/a/fleet.yaml:5: targetCustomizations[0].helm.values.a"
    )
    assert [minor for minor in ("", "1.8", "1.9", "1.31") if found.too_new(minor)] == ["1.8"]
    plain = fleetfile.read(write(tmp_path / "b", OTHERS, chart=False))
    assert plain.on("1.8") is plain
    assert not plain.too_new("1.8")


def test_a_chart_that_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no chart.*Chart.yaml is not beside it"):
        fleetfile.read(write(tmp_path / "a", "name: a\n", chart=False))
    folder = write(tmp_path / "b", "name: b\n")
    (folder / "Chart.yaml").write_text("name: b\n")
    with pytest.raises(BadInput, match=r"Chart.yaml:1: version: the chart's version is missing"):
        fleetfile.read(folder)
    with pytest.raises(BadInput, match=r"values.schema.json: this is not JSON"):
        fleetfile.read(write(tmp_path / "c", "name: c\n", schema="{"))
    with pytest.raises(NotFound, match=r"there is no fleet.yaml"):
        fleetfile.read(tmp_path)


def test_order_is_that_of_the_dependencies(tmp_path: Path) -> None:
    write(tmp_path / "a", "dependsOn: [{name: c}]\n")
    write(tmp_path / "b", "name: b\n")
    write(tmp_path / "c", "dependsOn: [{name: d}]\n")
    write(tmp_path / "d", "name: d\n")
    found = catalogue.load_dir(tmp_path)
    names = [item.name for item in found]
    assert sorted(names) == ["a", "b", "c", "d"]
    assert names.index("d") < names.index("c") < names.index("a")
    assert [item.name for item in catalogue.choose(found, ["a", "d"], "--apps")] == ["d", "a"]
    assert [item.name for item in catalogue.load_dir(tmp_path / "a")] == ["a"]
    with pytest.raises(BadInput, match=r"--apps: app 'dd' is not known"):
        catalogue.choose(found, ["dd"], "--apps")


def test_a_circle_an_unknown_one_and_one_that_is_there_twice(tmp_path: Path) -> None:
    write(tmp_path / "a", "dependsOn: [{name: b}]\n")
    write(tmp_path / "b", "dependsOn: [{name: a}]\n")
    with pytest.raises(BadInput, match=r"fleet.yaml:1: dependsOn: .*in a circle: (a → b → a|b → a → b)"):
        catalogue.load_dir(tmp_path)
    write(tmp_path / "b", "dependsOn: [{name: aa}]\n")
    with pytest.raises(BadInput, match=r"b/fleet.yaml:1: dependsOn\[0\].name: bundle 'aa' is not known"):
        catalogue.load_dir(tmp_path)
    write(tmp_path / "b", "name: a\n")
    write(tmp_path / "a", "name: a\n")
    with pytest.raises(BadInput, match="'a' is there twice"):
        catalogue.load_dir(tmp_path)
    with pytest.raises(NotFound, match="check --bundle-dir"):
        catalogue.load_dir(tmp_path / "none")


def test_the_shipped_bundles_are_read() -> None:
    catalogue.shipped()


def test_one_mirror_for_the_charts_of_others() -> None:
    settings = Settings.from_environment({"CAPI_LLM_CHARTS_MIRROR": "https://charts.example.com/all/"})
    mirrored, own = bundles_of(settings), catalogue.shipped()
    assert {one.chart.repo for one in mirrored if one.chart} == {"https://charts.example.com/all"}
    assert [one.chart and (one.chart.name, one.chart.version) for one in mirrored] == [
        one.chart and (one.chart.name, one.chart.version) for one in own
    ]
