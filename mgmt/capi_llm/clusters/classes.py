"""ClusterClasses: those that ship with capi-llm, one from a folder, those in the cluster."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from capi_llm import documents, fields, secret_names
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.contract import capi, rollout
from capi_llm.errors import BadInput, NotFound
from capi_llm.kube.apply import Applied, apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTER_CLASSES, Object, Ref
from capi_llm.provider.kinds import KWOK_CONTROL_PLANES
from capi_llm.waiting import Status, Waiter, pending, until

SHIPPED = "capi_llm.clusterclasses"


@dataclass(frozen=True)
class ClassFolder:
    """A ClusterClass with every template that it refers to, and its README."""

    name: str
    source: str
    objects: tuple[Object, ...]
    readme: str = ""


@dataclass(frozen=True)
class Variable:
    """A variable of a class. ``default`` is None where there is none."""

    name: str
    type: str
    required: bool
    default: Any
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class ClassInfo:
    """What ``classes show`` tells. ``namespace`` and ``status`` are empty for a class from a folder."""

    name: str
    namespace: str
    infrastructure: str
    control_plane: str
    worker_classes: tuple[str, ...]
    variables: tuple[Variable, ...]
    source: str
    status: Status | None = None

    @property
    def in_memory(self) -> bool:
        """Whether its machines are those of the in-memory provider."""
        return self.infrastructure.startswith(rollout.IN_MEMORY)

    def variable(self, name: str) -> Variable | None:
        return next((variable for variable in self.variables if variable.name == name), None)


def shipped() -> tuple[ClassFolder, ...]:
    """The classes that ship with capi-llm, by name."""
    folders = []
    for folder in files(SHIPPED).iterdir():
        manifest = folder / "class.yaml"
        if manifest.is_file():
            readme = folder / "README.md"
            text = readme.read_text() if readme.is_file() else ""
            folders.append(_folder([(manifest.name, manifest.read_text())], text, f"shipped: {folder.name}"))
    return tuple(sorted(folders, key=lambda folder: folder.name))


def shipped_class(cluster_class: str) -> ClassFolder | None:
    """The shipped class of that name (a namespace before it does not matter), or None."""
    name = cluster_class.rpartition("/")[2]
    return next((folder for folder in shipped() if folder.name == name), None)


def load_dir(path: Path) -> ClassFolder:
    """The class in the folder ``path``: all its ``*.yaml`` and ``*.yml``, one ClusterClass among them.

    Raises NotFound where the folder is not there, BadInput where it holds no whole class.
    """
    if not path.is_dir():
        raise NotFound("the folder does not exist", on=str(path), fix="check --class-dir")
    texts = [
        (item.name, item.read_text()) for item in sorted(path.iterdir()) if item.suffix in (".yaml", ".yml")
    ]
    readme = path / "README.md"
    return _folder(texts, readme.read_text() if readme.is_file() else "", str(path))


def apply_folder(
    api: Api,
    folder: ClassFolder,
    namespace: str = "default",
    *,
    dry_run: bool = False,
    timeout: float = 60.0,
    waiter: Waiter | None = None,
) -> list[Applied]:
    """Apply a class and its templates; zero writes where nothing changed. Waits until it is accepted.

    Raises Invalid where a webhook refuses it, which it does for a template that was changed
    while in use: such a template needs a new name.
    """
    objects = [_in_namespace(obj, namespace) for obj in folder.objects]
    # A dry run is asked for to see the webhooks at work too.
    done = apply(api, objects, dry_run=dry_run, admission=dry_run)
    if not dry_run:
        ref = Ref(CLUSTER_CLASSES, folder.name, namespace)

        def probe() -> Status:
            obj = api.find(ref)
            return pending("is not there yet") if obj is None else capi.cluster_class(obj)

        until(probe, what=str(ref), timeout=timeout, waiter=waiter or Waiter(interval=0.2))
    return done


def in_cluster(api: Api, namespace: str | None = None) -> list[ClassInfo]:
    """The classes of one namespace or of all."""
    return [describe(obj) for obj in api.list(CLUSTER_CLASSES, namespace)]


def describe_folder(folder: ClassFolder) -> ClassInfo:
    """What ``classes show`` tells of a class that is not applied."""
    return replace(describe(_class_of(folder.objects)), namespace="", source=folder.source, status=None)


def describe(obj: Object) -> ClassInfo:
    """What ``classes show`` tells of a ClusterClass object."""
    spec = obj["spec"]
    deployments = (spec.get("workers") or {}).get("machineDeployments") or []
    variables = tuple(
        _variable(name, definition) for name, definition in capi.variable_definitions(obj).items()
    )
    return ClassInfo(
        name=obj["metadata"]["name"],
        namespace=obj["metadata"].get("namespace", "default"),
        infrastructure=_reference(spec.get("infrastructure") or {}).get("kind", ""),
        control_plane=_reference(spec.get("controlPlane") or {}).get("kind", ""),
        worker_classes=tuple(entry["class"] for entry in deployments),
        variables=tuple(sorted(variables, key=lambda variable: variable.name)),
        source="cluster",
        status=capi.cluster_class(obj),
    )


def find(api: Api, cluster_class: str, namespace: str) -> ClassInfo:
    """The class ``NAME`` in ``namespace``, or ``NAMESPACE/NAME``. Raises NotFound with those there are."""
    where, _, name = cluster_class.rpartition("/")
    obj = api.find(Ref(CLUSTER_CLASSES, name, where or namespace))
    if obj is not None:
        return describe(obj)
    known = [f"{info.namespace}/{info.name}" for info in in_cluster(api)]
    near = [full for full in known if full.endswith(f"/{name}")]
    names = {info.rpartition("/")[2]: info for info in known}
    close = near[0] if near else names.get(fields.nearest(name, names) or "")
    raise NotFound(
        f"there is no ClusterClass {name!r} in namespace {where or namespace!r}",
        why=f"there are {', '.join(known)}" if known else "there are none",
        fix=f"--class {close}" if close else "name one of them, or bring your own with --class-dir",
    )


def check(spec: ClusterSpec, info: ClassInfo) -> ClusterSpec:
    """``spec`` with its variables in the types of the class. Raises BadInput for what the class lacks."""
    if info.control_plane.startswith(KWOK_CONTROL_PLANES.kind) and spec.control_plane != 1:
        raise BadInput(
            f"controlPlane: {spec.control_plane} control planes are asked for, and this class has one",
            on=f"ClusterClass {info.name}",
            why="it is one API server with one etcd, which are real processes",
            fix="--control-plane 1, or a class with machines: --class in-memory-llm-clusterclass",
        )
    for pool in spec.pools:
        if pool.worker_class not in info.worker_classes:
            raise fields.unknown(
                f"pool {pool.name}: worker class", pool.worker_class, info.worker_classes, on=info.name
            )
    typed = {}
    for name, value in spec.variables.items():
        variable = info.variable(name)
        if variable is None:
            known = [item.name for item in info.variables]
            raise fields.unknown("variable", name, known, on=f"ClusterClass {info.name}")
        typed[name] = _typed(value, variable.schema, f"variable {name}")
    for variable in info.variables:
        if variable.required and variable.default is None and variable.name not in typed:
            raise BadInput(
                f"variable {variable.name!r} is required",
                on=f"ClusterClass {info.name}",
                why=variable.description,
                fix=f"--set {variable.name}=VALUE",
            )
    return replace(spec, variables=typed)


def _typed(value: Any, schema: Mapping[str, Any], where: str) -> Any:
    """``value`` as ``schema`` wants it, where that loses nothing: ``1`` as text, ``2.50`` as a number."""
    wanted = schema.get("type")
    if wanted == "string" and isinstance(value, bool | int | float):
        value = json.dumps(value)
    elif wanted in ("integer", "number") and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = int(value) if wanted == "integer" else float(value)
    elif wanted == "object" and isinstance(value, dict):
        properties, other = schema.get("properties") or {}, schema.get("additionalProperties") or {}
        if properties and not other:
            for key in value:
                if key not in properties:
                    raise fields.unknown(f"{where}: field", key, properties)
        value = {
            key: _typed(item, properties.get(key, other), f"{where}.{key}") for key, item in value.items()
        }
    elif wanted == "array" and isinstance(value, list):
        items = schema.get("items") or {}
        value = [_typed(item, items, f"{where}[{index}]") for index, item in enumerate(value)]
    types = {
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": int | float,
        "object": dict,
        "array": list,
    }
    if wanted in types and (
        not isinstance(value, types[wanted]) or (isinstance(value, bool) and wanted != "boolean")
    ):
        raise BadInput(f"{where}: {_shown(value, where)} is not of type {wanted}")
    if schema.get("enum") and value not in schema["enum"]:
        if secret_names.on_path(where):
            raise BadInput(f"{where}: it is none of the values that the class allows")
        raise fields.unknown(f"{where}: value", str(value), [str(item) for item in schema["enum"]])
    return value


def _shown(value: Any, where: str) -> str:
    return secret_names.GONE if secret_names.on_path(where) else repr(value)


def _variable(name: str, definition: Mapping[str, Any]) -> Variable:
    schema = (definition.get("schema") or {}).get("openAPIV3Schema") or {}
    return Variable(
        name=name,
        type=str(schema.get("type", "")),
        required=bool(definition.get("required")),
        default=schema.get("default"),
        description=" ".join(str(schema.get("description", "")).split()),
        schema=schema,
    )


def _folder(texts: Iterable[tuple[str, str]], readme: str, source: str) -> ClassFolder:
    objects: list[Object] = []
    for name, text in texts:
        try:
            found = documents.manifests(text)
        except yaml.YAMLError as error:
            raise BadInput(f"{name} is not YAML", on=source, why=documents.problem(error)) from None
        for document in found:
            if not isinstance(document, dict) or not (document.get("metadata") or {}).get("name"):
                raise BadInput(f"{name} holds something that is not a Kubernetes object", on=source)
            objects.append(document)
    names = [obj["metadata"]["name"] for obj in objects if obj.get("kind") == CLUSTER_CLASSES.kind]
    if len(names) != 1:
        why = f"it holds {len(names)}: {', '.join(names)}" if names else "it holds none"
        raise BadInput("a class folder has to hold one ClusterClass", on=source, why=why)
    folder = ClassFolder(names[0], source, tuple(objects), readme)
    have = {(obj.get("kind"), obj["metadata"]["name"]) for obj in objects}
    missing = [
        f"{kind} {name}" for kind, name in _references(_class_of(objects)["spec"]) if (kind, name) not in have
    ]
    if missing:
        raise BadInput("templates of the class are missing", on=source, why=", ".join(dict.fromkeys(missing)))
    return folder


def _class_of(objects: Iterable[Object]) -> Object:
    return next(obj for obj in objects if obj.get("kind") == CLUSTER_CLASSES.kind)


def _references(value: Any) -> Iterable[tuple[str, str]]:
    """Every reference to a template below ``value``, as kind and name."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("ref", "templateRef") and isinstance(item, dict) and "kind" in item:
                yield item["kind"], item.get("name", "")
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _reference(part: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = part.get("ref") or part.get("templateRef") or {}
    return found


def _in_namespace(obj: Object, namespace: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
