"""Every manifest that ships passes a strict server-side dry run on the real API server.

With the upstream CustomResourceDefinitions of the folder ``shared/crds`` beside the repository, or of
``UPSTREAM_CRDS``; kinds that neither has are skipped, by name. Charts of others are rendered
where ``UPSTREAM_CHARTS`` has them, as ``NAME/Chart.yaml``: their repositories are not asked.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import NAMES, OWN, ROOT, Helm, defaults, read
from value_sets import NAMESPACE, SETS

from capi_llm.errors import ApiError, NotFound
from capi_llm.kube.apply import MANAGER, apply
from capi_llm.kube.client import APPLY_PATCH, Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import CRDS, NAMESPACES, Ref
from sandboxes import Sandbox

Object = dict[str, Any]
FOLDERS = [Path(os.environ["UPSTREAM_CRDS"])] if os.environ.get("UPSTREAM_CRDS") else []
FOLDERS.append(ROOT.parent / "shared" / "crds")
CHARTS = Path(os.environ.get("UPSTREAM_CHARTS", "/nowhere"))
GROUPS = ("serving.knative.dev", "operator.knative.dev", "operator.tigera.io")
"""API groups of what our charts use and no plane has."""

pytestmark = pytest.mark.sandbox


def definitions() -> list[Object]:
    found: dict[str, Object] = {}
    for folder in FOLDERS:
        for path in sorted(folder.glob("*.yaml")):
            for obj in yaml.load_all(path.read_text(), yaml.CSafeLoader):
                if obj and obj["kind"] == "CustomResourceDefinition" and obj["spec"]["group"] in GROUPS:
                    found.setdefault(obj["metadata"]["name"], obj)
    return list(found.values())


@pytest.fixture(scope="module")
def upstream(sandbox: Sandbox) -> Iterator[set[str]]:
    """Upstream kinds on the sandbox while these tests run; which they are."""
    crds = [without_conversion(crd) for crd in definitions()]
    if crds:
        apply(sandbox.api, crds)
    yield {crd["spec"]["names"]["kind"] for crd in crds}
    for crd in crds:
        sandbox.api.delete(Ref(CRDS, crd["metadata"]["name"]))


def without_conversion(crd: Object) -> Object:
    """Its controller does not run here, so nothing would convert."""
    return {**crd, "spec": {key: value for key, value in crd["spec"].items() if key != "conversion"}}


class DryRun:
    """Strict dry runs in one namespace, which enforces the strictest Pod Security Standard."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.namespace = namespace
        self._api = api
        self._discovery = Discovery(api)

    def apply(self, obj: Object) -> None:
        """Raises ApiError where the server does not take ``obj`` as it is, unknown fields included."""
        ref = self._discovery.resource_for(obj).ref(obj)
        self._api.request(
            "PATCH",
            ref.path,
            body=obj,
            content_type=APPLY_PATCH,
            query={"fieldManager": MANAGER, "force": "true", "dryRun": "All", "fieldValidation": "Strict"},
            what="not applied",
            on=str(ref),
        )

    def problems(self, objects: list[Object]) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return [problem for problem in pool.map(self._problem, objects) if problem]

    def _problem(self, obj: Object) -> str:
        try:
            self.apply(obj)
        except (ApiError, NotFound) as error:
            return str(error)
        return ""


@pytest.fixture
def dry_run(sandbox: Sandbox, namespace: str, upstream: set[str]) -> DryRun:
    restricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    sandbox.api.merge_patch(Ref(NAMESPACES, namespace), restricted)
    return DryRun(sandbox.api, namespace)


def rendered(helm: Helm, name: str, namespace: str) -> list[Object]:
    """The objects of all value sets."""
    sets = [json.loads(json.dumps(values).replace(NAMESPACE, namespace)) for values in SETS[name]]
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda values: helm.template(name, values, namespace), sets)
        return [obj for objects in results for obj in objects]


def pods(objects: list[Object], namespace: str) -> list[Object]:
    """A pod as the controllers would make it, of every object that has a template of one.

    Priority and runtime classes are left out: the admission asks for them, and they are the cluster's.
    """
    found = []
    for number, obj in enumerate(objects):
        spec = obj.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if obj["apiVersion"].startswith("serving.knative.dev"):
            continue  # It has fields of its own, and its Deployment is tried in its place.
        if template:
            pod = copy.deepcopy(template)
            for word in ("runtimeClassName", "serviceAccountName"):
                pod["spec"].pop(word, None)
            pod["metadata"] |= {"name": f"pod-{number}", "namespace": namespace}
            found.append({"apiVersion": "v1", "kind": "Pod", **pod})
    return found


def served(objects: list[Object], upstream: set[str]) -> tuple[list[Object], str]:
    """Those of ``objects`` whose definitions are here, and in words of which kinds they are not."""
    lacking = [
        obj for obj in objects if obj["apiVersion"].split("/")[0] in GROUPS and obj["kind"] not in upstream
    ]
    kinds = ", ".join(sorted({obj["kind"] for obj in lacking}))
    where = ", ".join(map(str, FOLDERS))
    why = f"the others passed; no definition of {kinds} in {where}" if lacking else ""
    return [obj for obj in objects if obj not in lacking], why


@pytest.mark.parametrize("name", OWN)
def test_every_setting_of_every_chart(helm: Helm, dry_run: DryRun, upstream: set[str], name: str) -> None:
    objects, lacking = served(rendered(helm, name, dry_run.namespace), upstream)
    assert dry_run.problems(objects) == []
    if lacking:
        pytest.skip(lacking)


@pytest.mark.parametrize("name", ["litellm", "ollama", "ollama-startup-config", "openwebui"])
def test_pods_are_let_in_where_only_restricted_ones_are(helm: Helm, dry_run: DryRun, name: str) -> None:
    made = pods(rendered(helm, name, dry_run.namespace), dry_run.namespace)
    assert made
    assert dry_run.problems(made) == []
    # That it is enforced is seen by one that is not.
    worse = copy.deepcopy(made[0])
    worse["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    (said,) = dry_run.problems([worse])
    assert "restricted" in said


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(OWN)))
def test_charts_of_others(helm: Helm, dry_run: DryRun, upstream: set[str], name: str) -> None:
    chart = CHARTS / str(read(name, "fleet.yaml")["helm"]["chart"])
    if not chart.is_dir():
        pytest.skip(f"the chart is not in UPSTREAM_CHARTS ({chart})")
    objects = helm.template(name, defaults(name), dry_run.namespace, chart)
    crds = [obj for obj in objects if obj["kind"] == "CustomResourceDefinition"]
    assert dry_run.problems(crds) == []
    others, lacking = served([obj for obj in objects if obj not in crds], upstream)
    assert dry_run.problems(others) == []
    if lacking:
        pytest.skip(lacking)


def classes() -> dict[str, list[Object]]:
    folder = Path(str(files("capi_llm.clusterclasses")))
    return {
        path.parent.name: [obj for obj in yaml.safe_load_all(path.read_text()) if obj]
        for path in sorted(folder.glob("*/class.yaml"))
    }


@pytest.mark.parametrize("name", sorted(classes()))
def test_cluster_classes(dry_run: DryRun, name: str) -> None:
    objects = [
        {**obj, "metadata": {**obj["metadata"], "namespace": dry_run.namespace}} for obj in classes()[name]
    ]
    assert dry_run.problems(objects) == []


MISSPELT: tuple[tuple[str, Mapping[str, Any], str, tuple[str | int, ...]], ...] = (
    ("ollama", {"serving": "deployment"}, "Deployment", ("spec", "template", "spec", "containers", 0)),
    ("ollama", {}, "Service", ("spec", "template", "spec", "containers", 0)),
    ("litellm", {}, "NetworkPolicy", ("spec",)),
    ("openwebui", {}, "PersistentVolumeClaim", ("spec", "resources")),
    ("ollama-startup-config", {}, "Job", ("spec",)),
)


@pytest.mark.parametrize(("name", "values", "kind", "path"), MISSPELT)
def test_a_misspelt_field_fails(
    helm: Helm,
    dry_run: DryRun,
    upstream: set[str],
    name: str,
    values: Mapping[str, Any],
    kind: str,
    path: tuple[str | int, ...],
) -> None:
    objects = helm.template(name, values, dry_run.namespace)
    (obj,) = (obj for obj in objects if obj["kind"] == kind)
    _, lacking = served([obj], upstream)
    if lacking:
        pytest.skip(lacking)
    place: Any = obj
    for word in path:
        place = place[word]
    place["resourcess"] = {}
    (problem,) = dry_run.problems([obj])
    assert "resourcess" in problem


def test_a_misspelt_field_of_a_class_fails(dry_run: DryRun) -> None:
    (obj,) = (obj for obj in classes()["docker-llm"] if obj["kind"] == "ClusterClass")
    obj["metadata"]["namespace"] = dry_run.namespace
    obj["spec"]["worker"] = obj["spec"].pop("workers")
    (problem,) = dry_run.problems([obj])
    assert "worker" in problem
