"""Every chart of ours: linted, its values described, checked, and each of them tried."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from typing import Any

import jsonschema
import pytest
import yaml
from charts import BUNDLES, NAMES, OWN, Helm, Leaf, at, defaults, leaves, read, schema, tree
from value_sets import SETS

from capi_llm import versions

WRONG: dict[str, list[Any]] = {
    "string": [7, ["text"]],
    "integer": ["many", 1.5],
    "number": ["many"],
    "boolean": ["yes"],
    "array": [{"a": "map"}, "text"],
    "object": [["a", "list"], "text"],
}
"""Values that are not of a type."""


def base(name: str) -> dict[str, Any]:
    """The least that has to be said for the chart to render."""
    return SETS[name][0]


def under(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, **more}


def test_every_chart_has_value_sets() -> None:
    assert set(SETS) == set(OWN)


@pytest.mark.parametrize("name", OWN)
def test_lint(helm: Helm, name: str) -> None:
    done = helm.run("lint", "--strict", BUNDLES / name, values=base(name))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_described_and_closed(name: str) -> None:
    found = schema(name)
    assert found["additionalProperties"] is False
    for path, about in leaves(found):
        assert about.get("description"), path
    jsonschema.Draft7Validator.check_schema(found)
    jsonschema.Draft7Validator(found).validate(defaults(name))


@pytest.mark.parametrize("name", OWN)
def test_every_value_has_its_default(name: str) -> None:
    values = defaults(name)
    lacking = [path for path, _ in leaves(schema(name)) if at(values, path) is None]
    assert lacking == []


@pytest.mark.parametrize("name", OWN)
def test_the_sets_say_every_value(name: str) -> None:
    """Each with another value than its default, and each member of an enumeration."""
    values = defaults(name)
    left = []
    for path, about in leaves(schema(name)):
        default = at(values, path)
        said = [at(item, path) for item in SETS[name]]
        others = [item for item in said if item is not None and item != default]
        left += [(path, item) for item in about.get("enum", []) if item != default and item not in others]
        if not others:
            left.append((path, "another value"))
    assert left == []


@pytest.mark.parametrize("name", OWN)
def test_a_value_of_another_type_is_refused(helm: Helm, name: str) -> None:
    wrong: list[tuple[Leaf, Any]] = []
    for path, about in leaves(schema(name)):
        kind = about["type"]
        wrong += [(path, value) for value in WRONG[kind]]
        if "enum" in about:
            wrong.append((path, "neither-of-them"))
        wrong += [
            (path, about[bound] + step) for bound, step in (("minimum", -1), ("maximum", 1)) if bound in about
        ]
        if "pattern" in about:
            wrong.append((path, " not like this "))
        if about.get("minItems"):
            wrong.append((path, []))
        if about.get("minLength"):
            wrong.append((path, ""))
    validator = jsonschema.Draft7Validator(schema(name))
    let_in = [
        (path, value)
        for path, value in wrong
        if not list(validator.iter_errors(under(base(name), tree(path, value))))
    ]
    assert let_in == []
    # helm reads the same schema; that it does is seen with a few.
    with ThreadPoolExecutor(4) as pool:
        for (path, value), said in zip(
            wrong[:4], pool.map(lambda item: helm.refusal(name, tree(*item)), wrong[:4]), strict=True
        ):
            assert "don't meet the specifications of the schema" in said, (path, value)
            assert path[-1] in said


@pytest.mark.parametrize("name", OWN)
def test_a_misspelt_value_is_refused(helm: Helm, name: str) -> None:
    deep = next(path for path, _ in leaves(schema(name)) if len(path) > 1)
    for values in ({"imagee": {}}, tree((*deep[:-1], deep[-1] + "x"), 1)):
        assert "Additional property" in helm.refusal(name, under(base(name), values))


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("litellm", {"masterKey": None}, "masterKey is required"),
        ("litellm", {"masterKey": {"secretName": ""}}, "masterKey.secretName"),
        ("litellm", {"masterKey": {"key": ""}}, "masterKey.key"),
        ("litellm-config", {"models": [{"model_name": "a"}]}, "litellm_params is required"),
        (
            "litellm-config",
            {"models": [{"model_name": "a", "litellm_params": {"model": "openai/a", "api_key": "sk-123"}}]},
            "api_key",
        ),
        (
            "litellm-config",
            {
                "models": [
                    {"model_name": "a", "litellm_params": {"model": "openai/a", "weight": 9}},
                    {"model_name": "a", "litellm_params": {"model": "openai/b"}},
                ]
            },
            "some entries of a have a weight and some have none",
        ),
        ("openwebui", {"ingress": {"enabled": True}}, "an ingress needs a host name"),
        ("ollama-startup-config", {"models": ["a; rm -rf /"]}, "models.0"),
        ("ollama-startup-config", {"models": ["tinyllama", "tinyllama"]}, "unique"),
        ("cluster-autoscaler", {"clusterName": ""}, "the name of the Cluster is missing"),
        ("ollama", {"env": {"NOT A NAME": "1"}}, "env"),
    ],
)
def test_refusals(helm: Helm, name: str, values: dict[str, Any], why: str) -> None:
    assert why in helm.refusal(name, under(base(name), values))


def config(helm: Helm, **values: Any) -> dict[str, Any]:
    (found,) = helm.template("litellm-config", values)
    return yaml.safe_load(found["data"]["config.yaml"])


def test_litellm_reaches_ollama_where_it_is_served(helm: Helm) -> None:
    first = config(helm)["model_list"][0]
    assert first["litellm_params"]["api_base"] == "http://ollama.llm.svc.cluster.local:80"
    direct = config(helm, serving="deployment")["model_list"][0]
    assert direct["litellm_params"]["api_base"] == "http://ollama.llm.svc.cluster.local:11434"


def test_litellm_has_its_key_from_the_environment_only(helm: Helm) -> None:
    found = config(helm, openai={"enabled": True})
    assert found["general_settings"]["master_key"] == "os.environ/LITELLM_MASTER_KEY"
    assert found["model_list"][1] == {
        "model_name": "openai/gpt-3.5-turbo",
        "litellm_params": {"model": "openai/gpt-3.5-turbo", "api_key": "os.environ/OPENAI_API_KEY"},
    }


def test_a_changed_configuration_has_another_hash(helm: Helm) -> None:
    def hashed(**values: Any) -> str:
        (found,) = helm.template("litellm-config", values)
        return found["metadata"]["annotations"]["capi-llm.dev/config-hash"]

    assert hashed() == hashed(serving="knative") != hashed(dropParams=False)
    pod = {
        value: next(
            obj for obj in helm.template("litellm", {"configHash": value}) if obj["kind"] == "Deployment"
        )
        for value in ("a", "b")
    }
    assert pod["a"]["spec"]["template"] != pod["b"]["spec"]["template"]


def job(helm: Helm, **values: Any) -> dict[str, Any]:
    return next(obj for obj in helm.template("ollama-startup-config", values) if obj["kind"] == "Job")


def test_the_job_runs_again_only_for_another_content(helm: Helm) -> None:
    first = job(helm)
    assert first == job(helm, models=["tinyllama"])
    names = {job(helm, **values)["metadata"]["name"] for values in ({}, {"models": ["phi3"]}, {"retries": 1})}
    assert len(names) == 3
    assert first["spec"]["template"]["spec"]["containers"][0]["args"] == ["tinyllama"]


def test_no_chart_has_a_secret(helm: Helm) -> None:
    rendered = {name: helm.template(name, SETS[name][-1]) for name in OWN}
    assert [name for name in OWN if any(obj["kind"] == "Secret" for obj in rendered[name])] == []


def containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def pods(objects: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    found = []
    for obj in objects:
        spec = obj.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            found.append(template["spec"])
    return found


@pytest.mark.parametrize("name", [name for name in OWN if name not in ("kourier", "litellm-config")])
def test_pods_are_careful(helm: Helm, name: str) -> None:
    found = pods(helm.template(name, base(name)))
    assert found
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        # Those that speak with an API server have an account of their own.
        assert pod.get("automountServiceAccountToken") is False or pod["serviceAccountName"]
        for container in containers(pod):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            if pod.get("restartPolicy") != "OnFailure":
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


def test_helper_pods_of_local_volumes_run_with_an_account_that_is_there(helm: Helm) -> None:
    objects = helm.template("local-path-storage", {})
    accounts = {item["metadata"]["name"] for item in objects if item["kind"] == "ServiceAccount"}
    (pod,) = pods(objects)
    (container,) = containers(pod)
    said = {item["name"]: item.get("value") for item in container["env"]}
    assert {pod["serviceAccountName"], said["SERVICE_ACCOUNT_NAME"]} == accounts


def test_knative_takes_the_pods_security_context(helm: Helm) -> None:
    """Its webhook refuses every other field (PodSecurityContextMask,
    https://github.com/knative/serving/blob/knative-v1.21.3/pkg/apis/serving/fieldmask.go).
    """
    allowed = {"runAsUser", "runAsGroup", "runAsNonRoot", "fsGroup", "supplementalGroups", "seccompProfile"}
    service = next(item for item in helm.template("ollama", {}) if item["kind"] == "Service")
    assert service["apiVersion"] == "serving.knative.dev/v1"
    assert set(service["spec"]["template"]["spec"]["securityContext"]) <= allowed


def test_knative_gets_a_startup_probe_with_a_number(helm: Helm) -> None:
    """It fills in the port of the other probes alone, and calls the container's port user-port
    (https://github.com/knative/serving/blob/knative-v1.21.3/pkg/reconciler/revision/resources/deploy.go).
    """
    (service,) = (item for item in helm.template("ollama", {}) if item["kind"] == "Service")
    (container,) = service["spec"]["template"]["spec"]["containers"]
    assert container["startupProbe"]["httpGet"]["port"] == container["ports"][0]["containerPort"]
    assert "port" not in container["readinessProbe"]["httpGet"]
    deployed = helm.template("ollama", {"serving": "deployment"})
    (pod,) = pods([item for item in deployed if item["kind"] == "Deployment"])
    assert containers(pod)[0]["startupProbe"]["httpGet"]["port"] == "http"


def test_copies_of_knatives_images_are_used_beside_every_pod_too(helm: Helm) -> None:
    """The operator puts the registry into Deployments and Jobs; queue-proxy's image is configuration."""

    def deployment(**values: Any) -> Any:
        (serving,) = helm.template("kourier", values)
        return serving["spec"]["config"]["deployment"]

    copies = deployment(registry="registry.local/knative", version="1.20.1")
    assert copies["queue-sidecar-image"] == "registry.local/knative/queue:v1.20.1"
    assert "queue-sidecar-image" not in deployment()


def test_bundles_of_one_namespace_agree_on_its_labels() -> None:
    found: dict[str, set[str]] = {}
    for name in NAMES:
        fleet = read(name, "fleet.yaml")
        found.setdefault(fleet["defaultNamespace"], set()).add(json.dumps(fleet.get("namespaceLabels")))
    assert {namespace for namespace, labels in found.items() if len(labels) > 1} == set()


def without_v(version: str) -> str:
    return version.removeprefix("v")


def test_versions_agree() -> None:
    assert set(versions.BUNDLES) == set(NAMES)
    for name, version in versions.BUNDLES.items():
        if name not in OWN:
            assert read(name, "fleet.yaml")["helm"]["version"] == version
            continue
        chart, values = read(name, "Chart.yaml"), defaults(name)
        assert (chart["name"], chart["version"]) == (name, versions.CLI)
        assert chart["appVersion"] == without_v(version), name
        # Without a tag of its own, a chart has no image.
        assert values.get("image", {"tag": version})["tag"] == version, name
    assert defaults("kourier")["version"] == versions.BUNDLES["kourier"]
    assert defaults("local-path-storage")["helperImage"]["tag"] == versions.BUSYBOX


def test_versions_for_an_older_kubernetes_agree() -> None:
    """What stands in fleet.yaml, and that each bundle is there for every minor up to the newest."""
    found: dict[str, dict[str, str]] = {}
    for name in NAMES:
        for entry in read(name, "fleet.yaml").get("targetCustomizations", []):
            minor = entry["clusterSelector"]["matchLabels"]["capi-llm.dev/kubernetes"]
            helm = entry["helm"]
            values = helm.get("values") or {}
            said = helm.get("version") or values.get("version") or values["image"]["tag"]
            found.setdefault(name, {})[minor] = said
    assert found == versions.BUNDLES_BEFORE
    newest = versions.WORKLOAD_MINORS[1]
    for name, older in found.items():
        minors = [int(minor.removeprefix("1.")) for minor in older]
        assert minors == list(range(minors[0], minors[-1] + 1)), name
        assert minors[0] <= 28 <= minors[-1] < newest, name
    for minor, version in versions.BUNDLES_BEFORE["cluster-autoscaler"].items():
        assert version.startswith(f"v{minor}.")


def test_knative_and_its_operator_are_of_one_line() -> None:
    """The operator of a minor brings the Serving that bundle kourier asks it for."""

    def lines(name: str) -> dict[str, tuple[int, int]]:
        found = {**versions.BUNDLES_BEFORE[name], "newest": versions.BUNDLES[name]}
        return {minor: versions.parse(version)[:2] for minor, version in found.items()}

    assert lines("kourier") == lines("knative-serving")


def test_a_chart_of_others_is_pinned_and_fetched_over_tls() -> None:
    for name in set(NAMES) - set(OWN):
        chart = read(name, "fleet.yaml")["helm"]
        assert chart["repo"].startswith("https://")
        assert chart["chart"]


def test_order() -> None:
    """Every dependency is a bundle, and there is no circle."""
    graph = {name: [item["name"] for item in read(name, "fleet.yaml").get("dependsOn", [])] for name in NAMES}
    order = list(TopologicalSorter(graph).static_order())
    assert sorted(order) == NAMES
    for earlier, later in (
        ("kourier", "ollama"),
        ("ollama", "ollama-startup-config"),
        ("litellm", "openwebui"),
    ):
        assert order.index(earlier) < order.index(later)
