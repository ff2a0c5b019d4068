"""Our entries in a person's kubeconfig: put in, replaced, taken out. Pure, and never another's entry.

Each of our entries carries an extension that says whose it is, so that it is known again
whatever it is called: kubectl keeps extensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from capi_llm import documents, versions
from capi_llm.errors import BadInput, Refused
from capi_llm.kube.kubeconfig import Kubeconfig

EXTENSION = f"{versions.GROUP}/entry"

_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}


@dataclass(frozen=True)
class Mark:
    """Where an entry leads: a cluster of a plane, or without ``name`` the plane itself.

    ``uid`` is that of the plane; a plane that was made anew under its name has another.
    """

    plane: str
    uid: str
    namespace: str = ""
    name: str = ""

    def same(self, other: Mark | None) -> bool:
        """Whether both lead to what is called the same."""
        return other is not None and (self.plane, self.namespace, self.name) == (
            other.plane,
            other.namespace,
            other.name,
        )


def read(text: str, where: str) -> Kubeconfig:
    """A kubeconfig file; an empty one is one without entries. Raises BadInput, quoting nothing of it."""
    try:
        config = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise _unusable(where, f"it is not YAML{line}") from None
    if config is None:
        config = {"apiVersion": "v1", "kind": "Config"}
    if not isinstance(config, dict):
        raise _unusable(where, "it is not a map")
    if config.get("kind", "Config") != "Config":
        raise _unusable(where, f"its kind is {config['kind']}")
    for section in _SECTIONS:
        entries = config.get(section) or []
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries
        ):
            raise _unusable(where, f"its {section} are not a list of entries with names")
    return config


def render(config: Kubeconfig) -> str:
    """The file's text. Comments do not survive; numbers and dates stay as they were written."""
    return str(yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def marks(config: Kubeconfig) -> list[Mark]:
    """Those of our entries, one for each context."""
    return [mark for entry in config.get("contexts") or [] if (mark := _mark(entry, "context"))]


def merge(
    config: Kubeconfig, source: Kubeconfig, *, name: str, mark: Mark, use: bool, where: str
) -> Kubeconfig:
    """``config`` with cluster, user and context of ``source``'s current context, all called ``name``.

    Ours of the same ``mark`` are replaced, but for the namespace that somebody chose for the
    context. ``current-context`` stays unless ``use``. Raises Refused where ``name`` is another's.
    """
    fresh = _parts(source)
    taken = [
        f"{word} {name!r}"
        for section, word in _SECTIONS.items()
        for entry in config.get(section) or []
        if entry["name"] == name and not mark.same(_mark(entry, word))
    ]
    if taken:
        raise Refused(
            "entries of that name are there and lead elsewhere",
            on=where,
            why=", ".join(taken),
            fix=f"choose another name: --as {name}-2, or another file: --into FILE",
        )
    merged = dict(config)
    for section, word in _SECTIONS.items():
        body = dict(fresh[word])
        if word == "context":
            body |= {"cluster": name, "user": name}
        body["extensions"] = [{"name": EXTENSION, "extension": _written(mark)}]
        entries = list(config.get(section) or [])
        index = next((number for number, entry in enumerate(entries) if entry["name"] == name), None)
        if index is None:
            entries.append({"name": name, word: body})
        else:
            namespace = (entries[index].get(word) or {}).get("namespace")
            if word == "context" and namespace:
                body["namespace"] = namespace
            entries[index] = {"name": name, word: body}
        merged[section] = entries
    if use:
        merged["current-context"] = name
    return merged


def remove(config: Kubeconfig, gone: Callable[[Mark], bool]) -> Kubeconfig:
    """``config`` without our entries whose mark is ``gone``."""
    left = dict(config)
    for section, word in _SECTIONS.items():
        entries = config.get(section)
        if not entries:
            continue
        left[section] = [entry for entry in entries if not ((mark := _mark(entry, word)) and gone(mark))]
    contexts = {entry["name"] for entry in left.get("contexts") or []}
    before = {entry["name"] for entry in config.get("contexts") or []}
    if config.get("current-context") in before - contexts:
        left["current-context"] = ""
    return left


def _parts(source: Kubeconfig) -> dict[str, Mapping[str, Any]]:
    """Cluster, user and context of the current context."""

    def body(word: str, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = next(entry for entry in source[f"{word}s"] if entry["name"] == name)[word]
        return found

    context = body("context", source["current-context"])
    return {
        "context": context,
        "cluster": body("cluster", context["cluster"]),
        "user": body("user", context["user"]),
    }


def _mark(entry: Mapping[str, Any], word: str) -> Mark | None:
    body = entry.get(word)
    extensions = body.get("extensions") if isinstance(body, dict) else None
    for extension in extensions if isinstance(extensions, list) else ():
        if isinstance(extension, dict) and extension.get("name") == EXTENSION:
            found = extension.get("extension")
            if isinstance(found, dict):
                return Mark(*(str(found.get(key) or "") for key in ("plane", "uid", "namespace", "cluster")))
    return None


def _written(mark: Mark) -> dict[str, str]:
    said = {"plane": mark.plane, "uid": mark.uid, "namespace": mark.namespace, "cluster": mark.name}
    return {key: value for key, value in said.items() if value}


def _unusable(where: str, why: str) -> BadInput:
    return BadInput(
        "the kubeconfig to merge into can not be used; it was not touched",
        on=where,
        why=why,
        fix="correct it, or choose another file: --into FILE",
    )


class _Verbatim(str):
    """A number or date as it was written, with its tag."""

    tag: str


class _Loader(yaml.SafeLoader):
    """YAML whose numbers and dates come back as they were: ``1.10``, ``007``, ``2026-01-01T00:00:00Z``."""


class _Dumper(documents.Writer):
    """Its counterpart."""


def _as_written(loader: yaml.Loader, node: yaml.ScalarNode) -> _Verbatim:
    value = _Verbatim(node.value)
    value.tag = node.tag
    return value


for _tag in ("int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _as_written)
_Dumper.add_representer(
    _Verbatim, lambda dumper, value: dumper.represent_scalar(value.tag, str(value), style=None)
)
