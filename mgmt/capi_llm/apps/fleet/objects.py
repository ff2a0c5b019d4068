"""A release as the object that Fleet delivers: a Bundle of our own chart, a HelmOp of another's. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from capi_llm import versions
from capi_llm.apps.bundle import FILE
from capi_llm.apps.bundle import Bundle as Folder
from capi_llm.apps.engine import Release
from capi_llm.apps.fleet import secrecy, size
from capi_llm.apps.fleet.kinds import BUNDLES, HELM_OPS
from capi_llm.apps.fleet.targets import Targets
from capi_llm.errors import BadInput
from capi_llm.kube.resources import Object, Resource
from capi_llm.tools.helm import Chart

APP = f"{versions.GROUP}/app"
TARGETS = f"{versions.GROUP}/targets"
REVISION = f"{versions.GROUP}/revision"
"""Labels of a Bundle or HelmOp of ours, which Fleet copies to its BundleDeployments.

The revision stands for all of the spec. A BundleDeployment that has it was made, or changed, from that
spec; nothing else in Fleet's status tells (:mod:`capi_llm.contract.fleet`).
"""


VERSION = f"{versions.GROUP}/chart-version"
"""Annotation of them: the version of the chart."""

_PASSED_ON = (
    "namespaceLabels", "namespaceAnnotations", "keepResources", "correctDrift", "ignore", "rolloutStrategy",
    "deleteNamespace", "deleteCRDResources", "diff",
)  # fmt: skip
"""Keys of fleet.yaml that mean the same in a Bundle's spec."""

_HELM_PASSED_ON = (
    "takeOwnership", "force", "atomic", "timeoutSeconds", "maxHistory", "waitForJobs", "disableDNS",
)  # fmt: skip


def make(
    release: Release,
    targets: Targets,
    *,
    among: Collection[str],
    owner: Object | None = None,
    keep: bool = False,
) -> Object:
    """The Bundle or HelmOp of ``release``.

    ``among`` are the apps that Fleet delivers to these targets: of what the bundle depends on, only
    they are named, because Fleet waits for ever for a bundle that is not there. With ``owner``, the
    object goes when that one goes. With ``keep``, what was
    delivered stays when the object goes. Raises BadInput for what is secret and what is too large.
    """
    folder = release.bundle
    values = dict(release.values)
    secrecy.check_values(release.app, values)
    for cluster, apps in targets.overrides.items():
        secrecy.check_values(f"{release.app} on {cluster}", apps.get(release.app) or {})
    for own in folder.customizations:
        secrecy.check_values(f"{release.app} on Kubernetes {own.kubernetes}", own.values)
    data = folder.document.data
    helm = {key: data["helm"][key] for key in _HELM_PASSED_ON if key in (data.get("helm") or {})}
    helm |= {
        "releaseName": release.name,
        # Fleet takes ${ } in values for a template, where a user means what stands there.
        "disablePreProcess": (data.get("helm") or {}).get("disablePreProcess", True),
    }
    if values:
        # Where the last value goes, the server makes null of {}, and each apply would write it again.
        helm["values"] = values
    name, labels = targets.bundle(release.app), _labels(folder, release.app, targets)
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": targets.namespace,
        "labels": labels,
        "annotations": {VERSION: folder.version},
    }
    if owner is not None:
        metadata["ownerReferences"] = [_reference(owner)]
    depends = [targets.bundle(other) for other in folder.depends_on if other in among]
    spec: dict[str, Any] = {key: data[key] for key in _PASSED_ON if key in data}
    entries = targets.entries(release.app, folder.customizations)
    spec |= {"defaultNamespace": release.namespace, "targets": entries}
    if keep:
        spec["keepResources"] = True
    if depends:
        spec["dependsOn"] = [{"name": other} for other in depends]
    files: list[tuple[str, bytes]] = []
    kind = HELM_OPS if folder.chart is not None else BUNDLES
    if folder.chart is not None:
        spec["helm"] = helm | _chart(folder.chart)
    else:
        files = list(chart_files(folder.folder))
        secrecy.check_files(release.app, files)
        spec |= {"helm": helm, "resources": size.resources(files)}
    labels[REVISION] = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    if folder.chart is not None:
        spec["labels"] = labels
    obj: Object = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
    size.check(obj, files)
    return obj


def chart_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the chart in ``folder`` but fleet.yaml: its name in the chart, and its content.

    Raises BadInput for a link that leads out of the folder.
    """
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name == FILE or _left_out(name):
            continue
        if root not in path.resolve().parents:
            raise BadInput(
                f"{path}: the file is a link that leads out of the bundle", fix="put the file itself there"
            )
        yield name, path.read_bytes()


def _left_out(name: str) -> bool:
    parts = name.split("/")
    return "__pycache__" in parts or any(part.startswith(".") and part != ".helmignore" for part in parts)


def _labels(folder: Folder, app: str, targets: Targets) -> dict[str, str]:
    own = {APP: app, TARGETS: targets.name, "app.kubernetes.io/managed-by": "capi-llm"}
    return {**folder.labels, **own}


def _chart(chart: Chart) -> dict[str, str]:
    """As Fleet wants it: an OCI address is a repo without chart (``validate`` in helmop_controller.go)."""
    if chart.name.startswith("oci://"):
        return {"repo": chart.name, "version": chart.version}
    return {"chart": chart.name, "repo": chart.repo, "version": chart.version}


def _reference(owner: Object) -> dict[str, str]:
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def kind_of(obj: Object) -> Resource:
    """HelmOp or Bundle."""
    return HELM_OPS if obj["kind"] == HELM_OPS.kind else BUNDLES


def dependants_first(found: Sequence[Object]) -> Iterator[Object]:
    """Bundles and HelmOps so that none comes before one that depends on it."""
    left = {str(obj["metadata"]["name"]): obj for obj in found}
    while left:
        needed = {entry.get("name") for obj in left.values() for entry in obj["spec"].get("dependsOn") or []}
        free = [name for name in left if name not in needed] or list(left)
        for name in free:
            yield left.pop(name)
