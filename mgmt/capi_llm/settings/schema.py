"""JSON Schema (draft 2020-12) of capi-llm.yaml and of ClusterSpec files, from the tables.

For editors: what capi-llm takes is valid, words that it does not know are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capi_llm import versions
from capi_llm.settings import kinds
from capi_llm.settings.kinds import Kind
from capi_llm.settings.table import KIND, SETTINGS
from capi_llm.settings.words import CLUSTER, FORMER

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SECTIONS = {
    "plane": "The management plane.",
    "folders": "Where files are. Relative paths begin at the folder of this file.",
    "parts": "The sandbox's executables.",
    "parts.executables": "Executables of your own, by the part's name.",
    "host": "This machine.",
    "cluster": "Defaults of new-cluster; a ClusterSpec file and flags win over them.",
    "apps": "The LLM apps on workload clusters.",
    "gateway": "LiteLLM, the gateway before all models.",
    "management": "The management cluster of a plane of kind `kind` or `existing`.",
    "rancher": "Rancher on a plane of kind `kind` or `existing`.",
    "charts": "Where the charts of a management plane come from.",
}


def settings() -> dict[str, Any]:
    """The schema of capi-llm.yaml. Secrets are not in it: that file has none."""
    whole = _object("Settings of capi-llm. Environment and .env win over this file.")
    whole["properties"] |= _head(KIND)
    whole["required"] = ["apiVersion"]
    for setting in SETTINGS:
        if setting.secret:
            continue
        *sections, word = setting.path.split(".")
        at, path = whole, ""
        for section in sections:
            path = f"{path}.{section}".lstrip(".")
            at = at["properties"].setdefault(section, _or_null(_object(_SECTIONS[path])))
        at["properties"][word] = _value(setting.kind, setting.help, setting.default)
    return _named("Settings", whole)


def cluster() -> dict[str, Any]:
    """The schema of the files of ``new-cluster -f``."""
    whole = _object("A workload cluster, for `capi-llm new-cluster -f`.")
    words = {word.word: _value(word.kind, word.help, word.default) for word in CLUSTER}
    whole["properties"] |= _head("ClusterSpec") | {
        "name": _value(kinds.NAME, "name of the cluster", None),
        "metadata": _or_null(_object("Name and namespace may stand here too.")),
        **words,
        **{
            old: {**words[new], "deprecated": True, "description": f"write {new}"}
            for old, new in FORMER.items()
        },
        "pools": {
            "description": "More pools of workers.",
            "type": ["array", "null"],
            "items": {"anyOf": [{"type": "string", "pattern": "="}, _pool()]},
        },
    }
    whole["properties"]["metadata"]["properties"] = {
        word: _value(kinds.NAME, f"{word} of the cluster", None) for word in ("name", "namespace")
    }
    whole["required"] = ["apiVersion", "kind"]
    return _named("ClusterSpec", whole)


def _pool() -> dict[str, Any]:
    pool = _object("A pool of workers.")
    for word, kind, text in (
        ("name", kinds.NAME, "name of the pool"),
        ("workers", kinds.WORKERS, "MIN..MAX, or a fixed number"),
        ("class", kinds.NAME, "worker class of the ClusterClass"),
        ("cpu", kinds.CPU, "CPUs that an autoscaler takes a worker to have"),
        ("memory", kinds.MEMORY, "memory that an autoscaler takes a worker to have"),
    ):
        pool["properties"][word] = _value(kind, text, None)
    pool["required"] = ["name", "workers"]
    return pool


def _named(title: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "$schema": _DIALECT,
        "$id": f"urn:{versions.API_VERSION.replace('/', ':')}:{title}",
        "title": f"{title} of capi-llm {versions.CLI}",
        **schema,
    }


def _head(kind: str) -> dict[str, Any]:
    return {
        "apiVersion": {"description": "Version of this form.", "const": versions.API_VERSION},
        "kind": {"description": "What this file is.", "const": kind},
    }


def _object(text: str) -> dict[str, Any]:
    return {"description": text, "type": "object", "properties": {}, "additionalProperties": False}


def _value(kind: Kind, text: str, default: Any) -> dict[str, Any]:
    schema = {"description": text, **_or_null(kind.schema)}
    return schema | ({} if default is None else {"default": default})


def _or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """``schema``, or nothing behind the colon, which is as good as leaving the word out."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, **more, "type": [*types, "null"]}
