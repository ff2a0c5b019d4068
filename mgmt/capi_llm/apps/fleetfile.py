"""``fleet.yaml``, read strictly.

Fleet reads the same file from git (https://fleet.rancher.io/ref-fleet-yaml). What it may say there and
capi-llm can not follow, so that a cluster would get something else, is refused with file, line and place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capi_llm import documents, fields
from capi_llm.apps.bundle import (
    CHART_FILE,
    CNI,
    FILE,
    KINDS,
    PLACE,
    PLACES,
    PLANES,
    SCHEMA_FILE,
    SERVING,
    Bundle,
    Customization,
    Place,
    order_of,
)
from capi_llm.contract.rollout import KUBERNETES
from capi_llm.documents import Document
from capi_llm.errors import BadInput, NotFound
from capi_llm.tools.helm import Chart

LONGEST_RELEASE = 53
"""Characters of a Helm release's name (https://github.com/helm/helm/blob/v3.19.0/pkg/chartutil/validate_name.go)."""

_MINOR = re.compile(r"[0-9]+\.[0-9]+")
_VERSION = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?")

_KEYS = {
    "name", "labels", "defaultNamespace", "helm", "dependsOn", "diff", "targetCustomizations",
    "namespaceLabels", "namespaceAnnotations", "keepResources", "correctDrift", "ignore", "rolloutStrategy",
    "deleteNamespace", "deleteCRDResources",
}  # fmt: skip
"""What may stand in fleet.yaml; from the second line on it is for Fleet alone."""

_HELM_KEYS = {
    "chart", "repo", "version", "releaseName", "values",
    "takeOwnership", "force", "atomic", "timeoutSeconds", "maxHistory", "waitForJobs", "disableDNS",
    "disablePreProcess",
}  # fmt: skip

_NOT_FOLLOWED = {
    "namespace", "kustomize", "yaml", "overlays", "overrideTargets", "targets",
    "doNotDeploy", "paused", "serviceAccount", "downstreamResources",
    "valuesFiles", "valuesFrom", "templateValues", "skipSchemaValidation",
    "clusterName", "clusterGroup", "clusterGroupSelector", "matchExpressions",
}  # fmt: skip

_SELECT = f'choose clusters by their Kubernetes: clusterSelector: {{matchLabels: {{{KUBERNETES}: "1.32"}}}}'


def read(folder: Path) -> Bundle:
    """The bundle in ``folder``. Raises NotFound without fleet.yaml, BadInput with file, line and place."""
    return _Reader(folder, _document(folder / FILE)).bundle()


class _Reader:
    """Checks one fleet.yaml, part by part."""

    def __init__(self, folder: Path, document: Document) -> None:
        self._folder = folder
        self._document = document
        self._data: Mapping[str, Any] = self._map(document.data or {}, ())
        self._helm: Mapping[str, Any] = self._map(self._data.get("helm") or {}, ("helm",))

    def bundle(self) -> Bundle:
        self._keys(self._data, _KEYS, ())
        self._keys(self._helm, _HELM_KEYS, ("helm",))
        name = fields.dns_label(self._text("name") or self._folder.name, self._document.at("name"))
        labels = self._map(self._data.get("labels") or {}, ("labels",))
        for key, value in labels.items():
            fields.label(key, str(value), self._document.at("labels", key))
        chart = self._chart()
        own = None if chart else self._own_chart()
        release = self._text("helm", "releaseName") or name
        namespace = self._text("defaultNamespace") or "default"
        return Bundle(
            name=name,
            folder=self._folder,
            namespace=fields.dns_label(namespace, self._document.at("defaultNamespace")),
            release=fields.dns_label(
                release, self._document.at("helm", "releaseName"), longest=LONGEST_RELEASE
            ),
            version=chart.version if chart else str((own or {})["version"]),
            chart=chart,
            depends_on=self._depends_on(),
            planes=self._planes(labels),
            place=self._place(labels),
            values=self._map(self._helm.get("values") or {}, ("helm", "values")),
            schema=self._schema(),
            compare_patches=self._compare_patches(),
            document=self._document,
            description=str((own or {}).get("description") or ""),
            cni=str(labels.get(CNI) or ""),
            serving=str(labels.get(SERVING) or ""),
            customizations=self._customizations(chart),
        )

    def _chart(self) -> Chart | None:
        name, repo, version = (self._text("helm", key) for key in ("chart", "repo", "version"))
        if not name and not repo and not version:
            return None
        if not name or (not repo and not name.startswith("oci://")):
            raise self._bad(
                ("helm", "chart"),
                "it is no chart of a repository",
                why="a chart of somebody else has helm.chart and helm.repo, or an oci:// address",
                fix=f"for a chart of your own, put {CHART_FILE} beside {FILE} and leave helm.chart out",
            )
        if repo and not repo.startswith("https://"):
            raise self._bad(("helm", "repo"), f"{repo!r} is not an https:// address")
        self._check_version(version, ("helm", "version"))
        return Chart(name, repo, version)

    def _check_version(self, version: str, path: documents.Trail) -> None:
        if not _VERSION.fullmatch(version):
            raise self._bad(
                path,
                f"{version!r} is not one version" if version else "the version is missing",
                why="the same files have to lead to the same objects tomorrow",
                fix="pin one, such as 1.2.3",
            )

    def _customizations(self, chart: Chart | None) -> tuple[Customization, ...]:
        """``targetCustomizations`` by Kubernetes minors; nothing else of a cluster is known for sure."""
        entries = self._data.get("targetCustomizations") or []
        if not isinstance(entries, list):
            raise self._bad(("targetCustomizations",), "it is not a list")
        found: dict[str, Customization] = {}
        for number, entry in enumerate(entries):
            here = ("targetCustomizations", number)
            self._keys(self._map(entry, here), {"name", "clusterSelector", "helm"}, here, _SELECT)
            kubernetes = self._selected(entry, here)
            if kubernetes in found:
                raise self._bad(
                    here,
                    f"there are two for Kubernetes {kubernetes}",
                    why="Fleet takes the first that fits a cluster",
                    fix="make one of them",
                )
            below = (*here, "helm")
            helm = self._map(entry.get("helm") or {}, below)
            self._keys(helm, {"version", "values"}, below)
            version = self._string(helm.get("version"), (*below, "version"))
            if version and chart is None:
                raise self._bad(
                    (*below, "version"), "the chart is in this folder, in one version", fix="leave it out"
                )
            if version:
                self._check_version(version, (*below, "version"))
            values = self._map(helm.get("values") or {}, (*below, "values"))
            found[kubernetes] = Customization(kubernetes, version, values, (*below, "values"))
        return tuple(found[kubernetes] for kubernetes in sorted(found, key=order_of))

    def _selected(self, entry: Mapping[str, Any], here: documents.Trail) -> str:
        """The Kubernetes minor of the clusters that an entry is for."""
        where = (*here, "clusterSelector")
        selector = self._map(entry.get("clusterSelector") or {}, where)
        self._keys(selector, {"matchLabels"}, where, _SELECT)
        where = (*where, "matchLabels")
        labels = self._map(selector.get("matchLabels") or {}, where)
        if set(labels) != {KUBERNETES}:
            raise self._bad(where, f"it does not say {KUBERNETES} alone", fix=_SELECT)
        kubernetes = labels[KUBERNETES]
        if not isinstance(kubernetes, str) or not _MINOR.fullmatch(kubernetes):
            raise self._bad(
                (*where, KUBERNETES), "it is not a Kubernetes minor as a text", fix='write "1.32", in quotes'
            )
        return kubernetes

    def _own_chart(self) -> Mapping[str, Any]:
        path = self._folder / CHART_FILE
        if not path.is_file():
            raise self._bad(
                ("helm", "chart"),
                "there is no chart",
                why=f"{CHART_FILE} is not beside it, and helm.chart and helm.repo name none",
                fix=f"add {CHART_FILE} and templates/, or helm.chart, helm.repo and helm.version",
            )
        document = _document(path)
        data = document.data if isinstance(document.data, dict) else {}
        for key in ("name", "version"):
            if not isinstance(data.get(key), str):
                raise BadInput(f"{document.at(key)}: the chart's {key} is missing", fix=f"add `{key}: …`")
        return data

    def _depends_on(self) -> tuple[str, ...]:
        entries = self._data.get("dependsOn") or []
        if not isinstance(entries, list):
            raise self._bad(("dependsOn",), "it is not a list", fix="write `- name: OTHER`")
        names = []
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or len(entry) > 1:
                raise self._bad(
                    ("dependsOn", number), "it is not the name of a bundle", fix="write `- name: OTHER`"
                )
            names.append(entry["name"])
        return tuple(names)

    def _planes(self, labels: Mapping[str, Any]) -> tuple[str, ...]:
        if PLANES not in labels:
            return KINDS
        planes = tuple(str(labels[PLANES]).split("."))
        for plane in planes:
            if plane not in KINDS:
                raise fields.unknown(f"{self._document.at('labels', PLANES)}: plane", plane, KINDS)
        return planes

    def _place(self, labels: Mapping[str, Any]) -> Place:
        said = str(labels.get(PLACE, "workload"))
        for place in PLACES:
            if place == said:
                return place
        raise fields.unknown(f"{self._document.at('labels', PLACE)}: place", said, PLACES)

    def _compare_patches(self) -> tuple[Mapping[str, Any], ...]:
        patches = self._map(self._data.get("diff") or {}, ("diff",)).get("comparePatches") or []
        if not isinstance(patches, list) or not all(isinstance(patch, dict) for patch in patches):
            raise self._bad(("diff", "comparePatches"), "it is not a list of maps")
        return tuple(patches)

    def _schema(self) -> Mapping[str, Any] | None:
        path = self._folder / SCHEMA_FILE
        try:
            schema = json.loads(documents.read(path, SCHEMA_FILE))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise BadInput(f"{path}: this is not JSON", why=str(error), fix="correct it there") from error
        return self._map(schema, (), str(path))

    def _text(self, *path: str) -> str:
        value: Any = self._data
        for key in path:
            value = (value or {}).get(key)
        return self._string(value, path)

    def _string(self, value: Any, path: documents.Trail) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._bad(path, "it is not a text", fix="write it in quotes")
        return value

    def _map(self, value: Any, path: documents.Trail, source: str = "") -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise BadInput(
                f"{source or self._document.at(*path)}: it is not a map", fix="write `word: value`"
            )
        return value

    def _keys(
        self,
        found: Mapping[str, Any],
        known: set[str],
        path: documents.Trail,
        instead: str = "say it in helm.values",
    ) -> None:
        for key in found:
            if key in _NOT_FOLLOWED:
                raise self._bad(
                    (*path, key),
                    "capi-llm does not follow this",
                    why="it would deliver something else than Fleet does from git",
                    fix=instead,
                )
            if key not in known:
                raise fields.unknown(f"{self._document.at(*path, key)}: key", key, known)

    def _bad(self, path: documents.Trail, what: str, *, why: str = "", fix: str = "") -> BadInput:
        return BadInput(f"{self._document.at(*path)}: {what}", why=why, fix=fix)


def _document(path: Path) -> Document:
    try:
        found = documents.load(documents.read(path, "the bundle"), str(path))
    except FileNotFoundError:
        raise NotFound(
            f"there is no {path.name}", on=str(path.parent), fix="name a bundle's folder"
        ) from None
    if len(found) != 1:
        raise BadInput(f"{path}: it has to hold one document", why=f"it holds {len(found)}")
    return found[0]
