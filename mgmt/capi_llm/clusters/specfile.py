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

Unknown words are refused, with the line, the path and the word that was probably meant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from capi_llm import documents, fields
from capi_llm.clusters.given import Given, PoolGiven, no_duplicates, parse_pool
from capi_llm.clusters.spec import DEFAULT_WORKER, ClusterSpec
from capi_llm.documents import Document, Trail, dotted
from capi_llm.errors import BadInput, NotFound
from capi_llm.fields.names import shown
from capi_llm.settings import kinds
from capi_llm.settings.sources import check_head
from capi_llm.settings.words import CLUSTER, FORMER

KIND = "ClusterSpec"

_KINDS = {"name": kinds.NAME} | {word.word: word.kind for word in CLUSTER}
WORDS = {"name": "name"} | {word.word: word.field for word in CLUSTER} | {"pools": "pools"}
"""Words of the file and the fields of :class:`~capi_llm.clusters.given.Given` that they fill."""

POOL_KINDS = {
    "name": kinds.NAME,
    "workers": kinds.WORKERS,
    "class": kinds.NAME,
    "cpu": kinds.CPU,
    "memory": kinds.MEMORY,
}
_ALIASES = {
    "label": "labels",
    "pool": "pools",
    "set": "variables",
    "variable": "variables",
    "clusterClass": "class",
}


def load(path: Path) -> Given:
    """Read ``path``. Raises NotFound where it is not there, BadInput where it is not such a file."""
    try:
        text = documents.read(path, "-f")
    except FileNotFoundError as error:
        raise NotFound("the file does not exist", on=str(path), fix="check -f") from error
    return parse(text, path.name)


def parse(text: str, source: str) -> Given:
    """The text of such a file; ``source`` names it in errors. Raises BadInput."""
    return of_documents(documents.load(text, source), source)


def of_documents(found: Sequence[Document], source: str) -> Given:
    """The same of a file that was read already."""
    if len(found) != 1 or not isinstance(found[0].data, dict):
        raise BadInput(
            f"{source}: the file has to hold one cluster",
            why=f"it holds {len(found)} documents"
            if len(found) != 1
            else "it is not a map of words and values",
            fix="one file for each cluster; docs/clusters.md shows one",
        )
    return _Reader(found[0]).read()


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
        "serviceDomain": spec.service_domain,
        "controlPlane": spec.control_plane,
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
        "labels": _said_of(spec, "labels", spec.labels, only_given),
        "variables": _said_of(spec, "variables", spec.variables, only_given),
    }
    return {
        word: value
        for word, value in whole.items()
        if (WORDS[word] in spec.given if only_given else value not in ([], {}))
    }


def _said_of(spec: ClusterSpec, word: str, items: Mapping[str, Any], only_given: bool) -> dict[str, Any]:
    return {
        key: item for key, item in items.items() if not only_given or f"{word}.{key}" not in spec.defaulted
    }


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document

    def read(self) -> Given:
        data: dict[str, Any] = self._document.data
        source = self._document.source
        if data.get("kind") == "Cluster":
            raise BadInput(
                f"{self._at('kind')} is a Cluster manifest's, not a ClusterSpec's",
                fix=f"capi-llm kubeconfig --management -- kubectl apply -f {source}",
            )
        check_head(self._document, KIND)
        self._known(data, (), {*WORDS, "apiVersion", "kind", "metadata"}, also=FORMER)
        metadata = self._map(data.get("metadata") or {}, "metadata")
        self._known(metadata, ("metadata",), {"name", "namespace"})
        said: dict[str, tuple[Trail, Any]] = {
            word: (("metadata", word), value) for word, value in metadata.items() if value is not None
        }
        for key, value in data.items():
            word = FORMER.get(key, key)
            if word not in WORDS or value is None:
                continue
            if word in said and said[word][1] != value:
                raise BadInput(
                    f"{self._at(key)}: it differs from {dotted(said[word][0])}", fix="leave one of them out"
                )
            said[word] = ((key,), value)
        values = {WORDS[word]: self._value(word, trail, value) for word, (trail, value) in said.items()}
        places = {WORDS[word]: self._at(*trail) for word, (trail, _) in said.items()}
        return Given(**values, places=places)

    def _value(self, word: str, trail: Trail, value: Any) -> Any:
        if word == "pools":
            return self._pools(value)
        return _KINDS[word].check(value, self._at(*trail))

    def _pools(self, value: Any) -> tuple[PoolGiven, ...]:
        if not isinstance(value, list):
            raise BadInput(f"{self._at('pools')}: it has to be a list", fix="e.g. [gpu=0..2:gpu-worker]")
        pools = tuple(self._pool(item, ("pools", index)) for index, item in enumerate(value))
        no_duplicates(pools, self._at("pools"))
        return pools

    def _pool(self, value: Any, trail: Trail) -> PoolGiven:
        if isinstance(value, str):
            return parse_pool(value, self._at(*trail))
        item = self._map(value, *trail)
        self._known(item, trail, POOL_KINDS)
        for word in ("name", "workers"):
            if item.get(word) is None:
                raise BadInput(f"{self._at(*trail)}: {word} is missing", fix="e.g. gpu=0..2:gpu-worker")
        said = {
            word: kind.check(item[word], self._at(*trail, word))
            for word, kind in POOL_KINDS.items()
            if item.get(word) is not None
        }
        return PoolGiven(
            said["name"], said["workers"], said.get("class", ""), said.get("cpu", ""), said.get("memory", "")
        )

    def _at(self, *trail: str | int) -> str:
        return self._document.at(*trail)

    def _map(self, value: Any, *trail: str | int) -> dict[str, Any]:
        return kinds.mapping(value, self._at(*trail))

    def _known(
        self, data: Mapping[str, Any], above: Trail, known: Collection[str], *, also: Collection[str] = ()
    ) -> None:
        for word in data:
            if word in known or word in also:
                continue
            place = self._at(*above, word).partition(": ")[0]
            full = dotted((*above, word))
            names = [dotted((*above, name)) for name in known]
            close = _ALIASES.get(word, "") if not above else ""
            close = close or fields.nearest(full, names)
            raise BadInput(
                f"{place}: the word {shown(full)} is not known",
                why=f"known are {', '.join(sorted(names))}",
                fix=f"did you mean {close!r}?"
                if close
                else "remove it; `capi-llm config schema cluster` has every word",
            )
