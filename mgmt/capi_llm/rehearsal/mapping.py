"""A world as the sandbox can hold it: every infrastructure provider becomes the in-memory one. Pure.

An infrastructure template of any kind becomes a DevMachineTemplate or DevClusterTemplate whose
machines start at once, and carries the spec that it had in ``spec.template.spec.original.KIND``.
A class's patches of it are rewritten to that place. Cluster API compares rendered templates and
nothing else, so machines are rolled exactly when the rendered original differs (topology
controller, ``reconcileReferencedTemplate``).

What stands for an object has another kind and name; :meth:`Mapping.back` says the real ones.
"""

from __future__ import annotations

import copy
import fnmatch
import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace
from typing import Any

from capi_llm.contract import capi
from capi_llm.kube.resources import CLUSTER_CLASSES, CLUSTERS, Object, Resource
from capi_llm.rehearsal.findings import Finding
from capi_llm.rehearsal.manifests import LAST_APPLIED
from capi_llm.rehearsal.world import (
    Key,
    World,
    class_key,
    key_of,
    reference_key,
    references,
    worker_classes,
)

INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
MACHINE_TEMPLATE = "DevMachineTemplate"
CLUSTER_TEMPLATE = "DevClusterTemplate"
ORIGINAL = "original"

_GROUP, _, _VERSION = INFRASTRUCTURE.partition("/")
DEV_MACHINE_TEMPLATES = Resource(_GROUP, _VERSION, "devmachinetemplates", MACHINE_TEMPLATE)
DEV_CLUSTERS = Resource(_GROUP, _VERSION, "devclusters", "DevCluster")

KUBEADM_CONTROL_PLANE = Key("controlplane.cluster.x-k8s.io", "KubeadmControlPlaneTemplate", "", "")
KUBEADM_CONFIG = Key("bootstrap.cluster.x-k8s.io", "KubeadmConfigTemplate", "", "")
_VERBATIM = {(item.group, item.kind) for item in (KUBEADM_CONTROL_PLANE, KUBEADM_CONFIG)}

_AT_ONCE: dict[str, Any] = {"provisioning": {"startupDuration": "0s"}}
_SPEC = "/spec/template/spec"

Kind = tuple[str, str]
"""Group and kind."""


@dataclass(frozen=True)
class Mapped:
    """A world as the sandbox holds it, in the order in which it is applied, and what is left out.

    ``objects`` are by the key of the real object that each stands for.
    """

    objects: MappingType[Key, Object]
    findings: tuple[Finding, ...] = ()

    def namespaces(self) -> set[str]:
        return {key.namespace for key in self.objects}


class Mapping:
    """The mapping of all worlds of one rehearsal: which kinds are infrastructure, and of what sort."""

    def __init__(self, worlds: Iterable[World]) -> None:
        self._sorts: dict[Kind, str] = {}
        self._versions: dict[tuple[str, str], str] = {}
        self._names: dict[str, str] = {}
        for world in worlds:
            for cluster_class in world.classes:
                for place, reference in references(cluster_class):
                    sort = _sort(place)
                    if sort:
                        self._sorts[_kind(reference)] = sort
                        self._versions[str(reference.get("apiVersion")), str(reference.get("kind"))] = sort

    def __call__(self, world: World) -> Mapped:
        """``world`` as the sandbox can hold it; what it can not hold is left out, with a finding."""
        findings: list[Finding] = []
        refused = set()
        objects: dict[Key, Object] = {}
        for key, whole in sorted(world.objects.items(), key=lambda item: (_rank(item[0]), item[0])):
            obj = _bare(whole)
            if _is(key, CLUSTER_CLASSES):
                problem = _impossible(obj)
                if problem is not None:
                    refused.add(key)
                    findings.append(problem)
                    continue
                objects[key] = self._class(obj, findings)
            elif _is(key, CLUSTERS):
                if not (obj.get("spec") or {}).get("topology"):
                    findings.append(_left_out(key, "it is not made from a ClusterClass"))
                elif class_key(obj) in refused:
                    findings.append(_left_out(key, f"its {class_key(obj)} can not be rehearsed"))
                else:
                    objects[key] = _cluster(obj, findings)
            elif (key.group, key.kind) in _VERBATIM:
                objects[key] = obj
            elif (key.group, key.kind) in self._sorts:
                objects[key] = self._template(obj)
            else:
                findings.append(
                    Finding("note", "not-rehearsed", str(key), "is not part of a rehearsal",
                            "only Clusters, ClusterClasses and their templates are")
                )  # fmt: skip
        return Mapped(objects, tuple(findings))

    def infrastructure(self) -> dict[tuple[str, str], str]:
        """(apiVersion, kind) → ``machine`` or ``cluster``, of every infrastructure template."""
        return dict(self._versions)

    def back(self, text: str) -> str:
        """A message of the sandbox's API server in the words of the real objects."""
        for name, real in self._names.items():
            text = text.replace(name, real)
        kinds = "|".join(sorted({re.escape(kind) for _, kind in self._sorts}, key=len, reverse=True))
        if kinds:
            text = re.sub(rf"([./]){ORIGINAL}[./]({kinds})(?=[./\s\"':,]|$)", "", text)
            for stand_in, sort in ((MACHINE_TEMPLATE, "machine"), (CLUSTER_TEMPLATE, "cluster")):
                behind = sorted({kind for (_, kind), own in self._sorts.items() if own == sort})
                if len(behind) == 1:
                    text = text.replace(stand_in, behind[0])
        return text

    def kind_behind(self, spec: MappingType[str, Any]) -> tuple[str, Any]:
        """The real kind and spec that an in-memory spec stands for; ``("", None)`` for none."""
        for kind, original in (spec.get(ORIGINAL) or {}).items():
            return kind, original
        return "", None

    def _template(self, obj: Object) -> Object:
        key = key_of(obj)
        sort = self._sorts[key.group, key.kind]
        template = dict((obj.get("spec") or {}).get("template") or {})
        carried = {ORIGINAL: {key.kind: template["spec"]}} if template.get("spec") is not None else {}
        memory = {} if sort == "cluster" else dict.fromkeys(("vm", "node", "apiServer", "etcd"), _AT_ONCE)
        template["spec"] = {"backend": {"inMemory": memory}} | carried
        return {
            "apiVersion": INFRASTRUCTURE,
            "kind": CLUSTER_TEMPLATE if sort == "cluster" else MACHINE_TEMPLATE,
            "metadata": obj["metadata"] | {"name": self._name(key.kind, key.name)},
            "spec": {"template": template},
        }

    def _class(self, obj: Object, findings: list[Finding]) -> Object:
        mapped = copy.deepcopy(obj)
        key = key_of(obj)
        exact = {(ref.get("apiVersion"), ref.get("kind")) for place, ref in references(obj) if _sort(place)}
        spec = mapped["spec"]
        for part in (spec.get("controlPlane") or {}, *worker_classes(mapped)):
            _health_check(part, key, findings)
        for place, reference in references(mapped):
            if _sort(place):
                self._reference(reference)
        workers = spec.get("workers") or {}
        if workers.pop("machinePools", None):
            findings.append(_left_out(key, "its MachinePool classes are not simulated"))
        for patch in spec.get("patches") or []:
            definitions = [self._definition(item, obj, exact) for item in patch.get("definitions") or []]
            if "definitions" in patch:
                patch["definitions"] = [item for item in definitions if item is not None]
        if "patches" in spec:
            spec["patches"] = [
                patch for patch in spec["patches"] if patch.get("definitions") or "definitions" not in patch
            ]
        return mapped

    def _reference(self, reference: Any) -> None:
        sort = self._sorts[_kind(reference)]
        reference["name"] = self._name(str(reference.get("kind")), str(reference.get("name")))
        reference["apiVersion"] = INFRASTRUCTURE
        reference["kind"] = CLUSTER_TEMPLATE if sort == "cluster" else MACHINE_TEMPLATE

    def _definition(
        self, definition: dict[str, Any], obj: Object, exact: set[tuple[Any, Any]]
    ) -> dict[str, Any] | None:
        selector = definition.get("selector") or {}
        match = selector.get("matchResources") or {}
        pools_only = match.pop("machinePoolClass", None) is not None and not match
        if pools_only:
            return None
        if (selector.get("apiVersion"), selector.get("kind")) not in exact:
            return definition
        kind = str(selector["kind"])
        sort = self._sorts[_kind(selector)]
        if sort == "machine" and not _narrow(match, obj, selector):
            return None
        for operation in definition.get("jsonPatches") or []:
            for word in ("path", "from"):
                path = operation.get(word)
                if isinstance(path, str) and (path == _SPEC or path.startswith(f"{_SPEC}/")):
                    operation[word] = f"{_SPEC}/{ORIGINAL}/{kind}{path.removeprefix(_SPEC)}"
        selector["apiVersion"] = INFRASTRUCTURE
        selector["kind"] = CLUSTER_TEMPLATE if sort == "cluster" else MACHINE_TEMPLATE
        return definition

    def _name(self, kind: str, name: str) -> str:
        stand_in = f"{name}.{kind.lower()}"
        self._names[stand_in] = name
        return stand_in


def _narrow(match: dict[str, Any], obj: Object, selector: MappingType[str, Any]) -> bool:
    """Leave in ``match`` what has the selector's kind: all machines have one kind in the sandbox.

    False where nothing is left of it.
    """

    def same(reference: MappingType[str, Any]) -> bool:
        return all(reference.get(word) == selector.get(word) for word in ("apiVersion", "kind"))

    found = dict(references(obj))
    all_same = all(same(ref) for place, ref in found.items() if _sort(place) == "machine")
    if all_same:
        return True
    if match.get("controlPlane") and not same(found.get("control plane machines") or {}):
        del match["controlPlane"]
    names = (match.get("machineDeploymentClass") or {}).get("names")
    if names:
        fitting = [
            entry["class"]
            for entry in worker_classes(obj)
            if any(fnmatch.fnmatchcase(entry["class"], name) for name in names)
            and same(found[f"infrastructure of worker class {entry['class']}"])
        ]
        match.pop("machineDeploymentClass")
        if fitting:
            match["machineDeploymentClass"] = {"names": fitting}
    return bool(match)


def _bare(obj: Object) -> Object:
    """``obj`` without annotations that are about real objects only."""
    annotations = obj["metadata"].get("annotations") or {}
    kept = {key: value for key, value in annotations.items() if key not in (LAST_APPLIED, capi.PAUSED)}
    return {**obj, "metadata": {**obj["metadata"], "annotations": kept}}


def _health_check(part: dict[str, Any], key: Key, findings: list[Finding]) -> None:
    check = part.get("machineHealthCheck")
    if isinstance(check, dict) and check.pop("remediationTemplate", None):
        findings.append(_left_out(key, "remediation templates of health checks are not simulated"))


def _cluster(obj: Object, findings: list[Finding]) -> Object:
    workers = obj["spec"]["topology"].get("workers") or {}
    if not workers.get("machinePools"):
        return obj
    key = key_of(obj)
    for entry in workers["machinePools"]:
        findings.append(
            _left_out(key, f"MachinePool {entry.get('name')} is left out: MachinePools are not simulated")
        )
    mapped = copy.deepcopy(obj)
    del mapped["spec"]["topology"]["workers"]["machinePools"]
    return mapped


def _impossible(cluster_class: Object) -> Finding | None:
    """Why a class can not be rehearsed at all; None where it can."""
    key = key_of(cluster_class)
    found = dict(references(cluster_class))
    if "control plane machines" not in found:
        return _left_out(key, "its control plane has no machineInfrastructure: nothing would be simulated")
    for place, reference in found.items():
        wanted = KUBEADM_CONTROL_PLANE if place == "control plane" else KUBEADM_CONFIG
        if _sort(place) or _kind(reference) == (wanted.group, wanted.kind):
            continue
        return _left_out(
            key,
            f"{place} is a {reference.get('kind')}: only {wanted.kind} can be rehearsed",
        )
    for patch in (cluster_class.get("spec") or {}).get("patches") or []:
        if patch.get("external"):
            return _left_out(key, f"patch {patch.get('name')} asks a runtime extension, which is not there")
    return None


def _left_out(key: Key, why: str) -> Finding:
    return Finding("warning", "not-rehearsed", str(key), "can not be rehearsed as it is", why)


def missing(world: World) -> Iterator[tuple[Object, str, Key]]:
    """Templates that a class refers to and that are not in ``world``: class, place, template."""
    for cluster_class in world.classes:
        own = key_of(cluster_class)
        for place, reference in references(cluster_class):
            key = reference_key(reference, own.namespace)
            if key not in world.objects:
                yield cluster_class, place, key


def without(mapped: Mapped, keys: Iterable[Key]) -> Mapped:
    """``mapped`` without these."""
    gone = set(keys)
    return replace(mapped, objects={key: obj for key, obj in mapped.objects.items() if key not in gone})


def _sort(place: str) -> str:
    """Whether a place in a class is for infrastructure of machines or of clusters; empty for neither."""
    if place == "infrastructure":
        return "cluster"
    return "machine" if place == "control plane machines" or place.startswith("infrastructure of") else ""


def _kind(reference: MappingType[str, Any]) -> Kind:
    return str(reference.get("apiVersion", "")).rpartition("/")[0], str(reference.get("kind", ""))


def _is(key: Key, resource: Resource) -> bool:
    return (key.group, key.kind) == (resource.group, resource.kind)


def _rank(key: Key) -> int:
    return 2 if _is(key, CLUSTERS) else 1 if _is(key, CLUSTER_CLASSES) else 0
