"""Files of manifests, and a change laid over a world.

A change is applied as ``kubectl apply`` would: maps are merged, lists are replaced, and what the
last apply had set and the new file leaves out is removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from capi_llm import documents, plane
from capi_llm.clusters import amend, classes, spec, specfile, topology
from capi_llm.errors import BadInput, NotFound
from capi_llm.kube.resources import CLUSTERS, Object
from capi_llm.rehearsal.world import Key, World, of, over

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def read(
    paths: Sequence[Path],
    class_dir: Path | None = None,
    *,
    namespace: str = "default",
    base: World | None = None,
) -> list[Object]:
    """The objects of YAML or JSON files, of all such files of folders, and of the class in ``class_dir``.

    What names no namespace is in ``namespace``. A ClusterSpec becomes its Cluster; with ``base``, over
    the cluster of that name there, so that what the file does not say stays. Raises NotFound, BadInput.
    """
    found: list[Object] = []
    for path in paths:
        for file in sorted(path.glob("*")) if path.is_dir() else [path]:
            if file == path or file.suffix in (".yaml", ".yml", ".json"):
                found += list(_read(file, base))
    if paths and not found:
        raise BadInput("there is no object in it", on=", ".join(map(str, paths)), fix="name a manifest")
    if class_dir is not None:
        found += classes.load_dir(class_dir).objects
    return [{**obj, "metadata": {"namespace": namespace} | obj["metadata"]} for obj in found]


def _read(path: Path, base: World | None) -> Iterator[Object]:
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise NotFound("the file does not exist", on=str(path), fix="check -f") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("the file can not be read", on=str(path), why=str(error)) from error
    try:
        found = documents.manifests(text)
    except yaml.YAMLError as error:
        raise BadInput("the file is not YAML", on=str(path), why=documents.problem(error)) from None
    for document in found:
        for item in _items(document):
            if isinstance(item, dict) and item.get("kind") == specfile.KIND:
                yield _from_spec(specfile.parse(yaml.safe_dump(item), path.name), base)
                continue
            metadata = item.get("metadata") if isinstance(item, dict) else None
            if not isinstance(metadata, dict) or not metadata.get("name") or not item.get("kind"):
                raise BadInput("the file holds something that is not a Kubernetes object", on=str(path))
            yield item


def _items(document: Any) -> list[Any]:
    if isinstance(document, dict) and document.get("kind") == "List":
        return list(document.get("items") or [])
    return [document]


def _from_spec(given: spec.Given, base: World | None) -> Object:
    wanted = spec.merge(given, spec.Given(), default_class=plane.DEFAULT_CLASS,
                        class_namespace=plane.CLASS_NAMESPACE)  # fmt: skip
    key = Key(CLUSTERS.group, CLUSTERS.kind, wanted.namespace, wanted.name)
    cluster = base.objects.get(key) if base is not None else None
    if cluster is None:
        return topology.manifest(wanted)
    patched: Object = over(cluster, amend.patch(cluster, wanted))
    return patched


def change(world: World, objects: Iterable[Object]) -> World:
    """``world`` with ``objects`` applied over it."""
    after = dict(world.objects)
    for key, obj in of(objects).objects.items():
        old = world.objects.get(key)
        after[key] = obj if old is None else over(old, obj, _last_applied(old))
    return replace(world, objects=after)


def _last_applied(obj: Object) -> Any:
    try:
        last = json.loads((obj["metadata"].get("annotations") or {}).get(LAST_APPLIED, "null"))
    except ValueError:
        return None
    if isinstance(last, dict):
        (last.get("metadata") or {}).pop("annotations", None)
    return last
