"""The file of ``new-cluster -f FILE``: the flags' words as YAML.

::

    apiVersion: capi-llm.dev/v1alpha1
    kind: ClusterSpec
    name: demo
    class: docker-llm-clusterclass
    workers: 1..3
    pools:
      - name: gpu
        workers: 0..2
        class: gpu-worker
        cpu: 8
        memory: 32Gi
    labels:
      team: search
    variables:
      cni: calico

Unknown words are refused, with the path and the word that was probably meant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from capi_llm import versions
from capi_llm.clusters import fields
from capi_llm.clusters.spec import (
    DEFAULT_WORKER,
    ClusterSpec,
    Given,
    PoolGiven,
    no_duplicates,
    parse_pool,
    parse_workers,
)
from capi_llm.errors import BadInput, NotFound

KIND = "ClusterSpec"

WORDS = {
    "name": "name",
    "namespace": "namespace",
    "class": "cluster_class",
    "version": "version",
    "pods": "pods",
    "services": "services",
    "service-domain": "service_domain",
    "control-plane": "control_plane",
    "workers": "workers",
    "cpu": "cpu",
    "memory": "memory",
    "pools": "pools",
    "labels": "labels",
    "variables": "variables",
}
"""Words of the file and the fields of :class:`~capi_llm.clusters.spec.Given` that they fill."""

_POOL_WORDS = ("name", "workers", "class", "cpu", "memory")
_ALIASES = {
    "label": "labels",
    "pool": "pools",
    "set": "variables",
    "variable": "variables",
    "clusterClass": "class",
}


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key that is there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Given:
    """Read ``path``. Raises NotFound where it is not there, BadInput where it is not such a file."""
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise NotFound("the file does not exist", on=str(path), fix="check -f") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("the file can not be read", on=str(path), why=str(error)) from error
    return parse(text, path.name)


def parse(text: str, source: str) -> Given:
    """The text of such a file; ``source`` names it in errors. Raises BadInput."""
    try:
        documents = [doc for doc in yaml.load_all(text, Loader=_Loader) if doc is not None]
    except yaml.YAMLError as error:
        raise BadInput("the file is not YAML", on=source, why=" ".join(str(error).split())) from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise BadInput(
            "the file has to hold one cluster", on=source, why=f"it holds {len(documents)} documents"
            if len(documents) != 1 else "it is not a map of words and values",
        )  # fmt: skip
    return _Reader(source).read(documents[0])


def render(spec: ClusterSpec, *, only_given: bool = False) -> dict[str, Any]:
    """``spec`` as the file's content; with ``only_given``, only what the user said."""
    first, *others = spec.pools
    # ``workers`` can not say a class; a first pool of another class is one of the list.
    listed = others if first.worker_class == DEFAULT_WORKER else list(spec.pools)
    whole: dict[str, Any] = {
        "name": spec.name,
        "namespace": spec.namespace,
        "class": spec.cluster_class,
        "version": spec.version,
        "pods": spec.pods,
        "services": spec.services,
        "service-domain": spec.service_domain,
        "control-plane": spec.control_plane,
        "workers": str(first.range),
        "cpu": first.cpu,
        "memory": first.memory,
        "pools": [
            {
                "name": pool.name,
                "workers": str(pool.range),
                "class": pool.worker_class,
                "cpu": pool.cpu,
                "memory": pool.memory,
            }
            for pool in listed
        ],
        "labels": dict(spec.labels),
        "variables": dict(spec.variables),
    }
    return {
        word: value
        for word, value in whole.items()
        if (WORDS[word] in spec.given if only_given else value not in ([], {}))
    }


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source

    def read(self, data: Mapping[Any, Any]) -> Given:
        head = {"apiVersion": versions.API_VERSION, "kind": KIND}
        if data.get("kind") == "Cluster":
            raise BadInput(
                "the file is a Cluster manifest, not a ClusterSpec",
                on=self._source,
                fix=f"capi-llm kubeconfig --management -- kubectl apply -f {self._source}",
            )
        for word, wanted in head.items():
            if data.get(word) != wanted:
                raise BadInput(
                    f"{self._source}: {word} is {data.get(word)!r}", fix=f"write `{word}: {wanted}`"
                )
        self._known(data, {*WORDS, *head, "metadata"}, "")
        values: dict[str, Any] = {}
        metadata = self._map(data.get("metadata") or {}, "metadata")
        self._known(metadata, {"name", "namespace"}, "metadata.")
        for word, value in [*metadata.items(), *data.items()]:
            if word in WORDS and value is not None:
                if word in metadata and values.get(WORDS[word], value) != value:
                    raise BadInput(f"{self._at(word)}: it differs from metadata.{word}")
                values[WORDS[word]] = self._value(word, value)
        return Given(**values)

    def _value(self, word: str, value: Any) -> Any:
        where = self._at(word)
        text: dict[str, Callable[[str, str], Any]] = {
            "name": fields.dns_label,
            "namespace": fields.dns_label,
            "class": fields.class_name,
            "version": fields.kubernetes_version,
            "pods": fields.cidr,
            "services": fields.cidr,
            "service-domain": fields.dns_subdomain,
            "workers": parse_workers,
            "cpu": fields.cpu,
            "memory": fields.memory,
        }
        if word in text:
            return text[word](self._text(value, where), where)
        if word == "control-plane":
            if not isinstance(value, int) or isinstance(value, bool):
                raise BadInput(f"{where}: {value!r} is not a number", fix="use 1 or 3")
            return fields.control_plane(value, where)
        if word == "labels":
            pairs = self._map(value, word).items()
            return dict(
                fields.label(str(key), self._text(item, f"{where}.{key}"), where) for key, item in pairs
            )
        if word == "variables":
            return self._map(value, word)
        return self._pools(value)

    def _pools(self, value: Any) -> tuple[PoolGiven, ...]:
        if not isinstance(value, list):
            raise BadInput(f"{self._at('pools')}: it has to be a list")
        pools = tuple(self._pool(item, f"pools[{index}]") for index, item in enumerate(value))
        no_duplicates(pools, self._at("pools"))
        return pools

    def _pool(self, value: Any, path: str) -> PoolGiven:
        if isinstance(value, str):
            return parse_pool(value, self._at(path))
        item = self._map(value, path)
        self._known(item, _POOL_WORDS, f"{path}.")
        for word in ("name", "workers"):
            if word not in item:
                raise BadInput(f"{self._at(path)}: {word} is missing", fix="e.g. gpu=0..2:gpu-worker")

        def text(word: str, parse: Callable[[str, str], Any]) -> Any:
            where = self._at(f"{path}.{word}")
            return parse(self._text(item[word], where), where) if item.get(word) is not None else ""

        return PoolGiven(
            text("name", fields.dns_label),
            text("workers", parse_workers),
            text("class", fields.dns_label),
            text("cpu", fields.cpu),
            text("memory", fields.memory),
        )

    def _at(self, path: str) -> str:
        return f"{self._source}: {path}"

    def _map(self, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise BadInput(f"{self._at(path)}: it has to be a map of words and values")
        return value

    def _known(self, data: Mapping[Any, Any], known: Collection[str], prefix: str) -> None:
        for word in data:
            if word in known:
                continue
            if not prefix and word in _ALIASES:
                raise BadInput(
                    f"{self._source}: the word {word!r} is not known", fix=f"did you mean {_ALIASES[word]!r}?"
                )
            raise fields.unknown(
                f"{self._source}: the word", prefix + str(word), [prefix + item for item in known]
            )

    def _text(self, value: Any, where: str) -> str:
        if isinstance(value, float):
            raise BadInput(
                f"{where}: {value!r} is read as a number by YAML", fix=f"write it in quotes: '{value}'"
            )
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadInput(f"{where}: {value!r} is not a text", fix="write it in quotes")
        return str(value)
