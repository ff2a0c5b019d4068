"""YAML: documents of people, read strictly, with the line of every value; and :func:`written` for programs.

Refused with the line: what is not YAML, a key that is there twice, a key that is not text, tags
other than those of JSON, numbers that JSON lacks, references that lead in a circle or blow up.
Dates are text, as in JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from capi_llm.errors import BadInput

Trail = tuple[str | int, ...]
"""Where in a document a value is: keys of maps and numbers of lists."""

LARGEST = 1 << 20
"""Bytes of a file; an object in etcd has at most 1.5 MiB."""

# The C loader reads 2 MB in 0.3 s instead of 4 s; wheels of PyYAML have it, some builds do not.
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MOST_VALUES = 50_000
_DEEPEST = 100
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """One document: its content as JSON would have it, and the line (from 1) of every value."""

    source: str
    data: Any
    lines: Mapping[Trail, int]

    def at(self, *path: str | int) -> Place:
        """The place of ``path`` for a message: ``demo.yaml:7: pools[0].workers``."""
        line = next(
            (self.lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.lines), 1
        )
        return Place(f"{self.source}:{line}: {dotted(path)}" if path else f"{self.source}:{line}", self, path)


class Place(str):
    """The text of a place, which knows those below it."""

    _document: Document
    _path: Trail

    def __new__(cls, text: str, document: Document, path: Trail) -> Place:
        place = super().__new__(cls, text)
        place._document, place._path = document, path
        return place

    def below(self, *path: str | int) -> Place:
        """The place of ``path`` below this one, with its own line."""
        return self._document.at(*self._path, *path)


def below(where: str, *path: str | int) -> str:
    """The place of ``path`` below ``where``, with its own line where a document is known."""
    if isinstance(where, Place):
        return where.below(*path)
    inner = dotted(path)
    return f"{where}{inner}" if inner.startswith("[") else f"{where}.{inner}"


def dotted(path: Trail) -> str:
    """``pools[0].workers``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read(path: Path, option: str) -> str:
    """The text of ``path``, which ``option`` named.

    Raises FileNotFoundError where it is not there, BadInput for what is no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise BadInput(
            f"the file of {option} can not be read", on=str(path), why=why, fix="name a file of text"
        ) from error
    if len(content) > LARGEST:
        raise BadInput(
            f"the file of {option} is too large",
            on=str(path),
            why="1 MiB is the most",
            fix="name another file",
        )
    return text


def load(text: str, source: str) -> list[Document]:
    """The documents in ``text``, without empty ones; ``source`` names it in messages. Raises BadInput."""
    loader = None
    try:
        loader = _Loader(text)
        found = []
        while loader.check_node():
            reader = _Reader(source, loader)
            data = reader.value(loader.get_node(), ())
            if data is not None:
                found.append(Document(source, data, reader.lines))
        return found
    except yaml.YAMLError as error:
        raise _not_yaml(error, source) from None  # its own words quote the file
    except RecursionError as error:
        raise BadInput(
            f"{source} is nested too deeply", why=f"{_DEEPEST} levels are the most", fix="make it flatter"
        ) from error
    finally:
        if loader is not None:
            loader.dispose()


def manifests(text: str) -> list[Any]:
    """The documents of large files that programs wrote, without empty ones; not as strict as :func:`load`.

    Raises yaml.YAMLError, of which :func:`problem` says what may be shown.
    """
    return [document for document in yaml.load_all(text, Loader=_Manifests) if document is not None]


class _Manifests(_FAST):  # type: ignore[misc, valid-type]
    """Fast; ``2024-01-01`` is text, as it is to Kubernetes."""


class _Loader(yaml.SafeLoader):
    """Resolves what JSON has too; ``2024-01-01`` is text."""


_Loader.yaml_implicit_resolvers = _Manifests.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != f"{_TAG}timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

_SCALARS: Mapping[str, Callable[[_Loader, yaml.ScalarNode], Any]] = {
    f"{_TAG}str": lambda loader, node: node.value,
    f"{_TAG}null": lambda loader, node: None,
    f"{_TAG}bool": lambda loader, node: loader.construct_yaml_bool(node),
    f"{_TAG}int": lambda loader, node: loader.construct_yaml_int(node),
    f"{_TAG}float": lambda loader, node: loader.construct_yaml_float(node),
}


class _Reader:
    """Turns the nodes of one document into plain values."""

    def __init__(self, source: str, loader: _Loader) -> None:
        self.lines: dict[Trail, int] = {}
        self._source = source
        self._loader = loader
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: Any, path: Trail) -> Any:
        self.lines.setdefault(path, self._line(node))
        self._count += 1
        if self._count > _MOST_VALUES:
            raise self._bad(node, "the file says too much", f"{_MOST_VALUES} values are the most", "say less")
        if len(path) > _DEEPEST:
            raise self._bad(
                node, "it is nested too deeply", f"{_DEEPEST} levels are the most", "make it flatter"
            )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self._bad(node, "a reference leads in a circle", "", "write the value where it is meant")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
                return self._mapping(node, path)
        finally:
            self._open.discard(id(node))
        raise self._bad(node, f"the tag {node.tag!r} has no meaning here", "", "leave the tag out")

    def _mapping(self, node: yaml.MappingNode, path: Trail) -> dict[str, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
                name = key.value if isinstance(key, yaml.ScalarNode) else "a list or map"
                raise self._bad(
                    key,
                    f"the key {name[:40]} is not text",
                    "YAML reads it as something else",
                    f"write {name[:40]!r}",
                )
            if key.value in seen:
                raise self._bad(
                    key,
                    f"{dotted((*path, key.value))!r} is there twice",
                    f"the other one is in line {seen[key.value]}",
                    "remove one of them",
                )
            seen[key.value] = self._line(key)
        self._loader.flatten_mapping(node)  # `<<: *other`; what the map itself says comes last and wins
        found: dict[str, Any] = {}
        for key, value in node.value:
            at = (*path, key.value)
            self.lines[at] = self._line(key)
            found[key.value] = self.value(value, at)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        construct = _SCALARS.get(node.tag)
        if construct is None:
            raise self._bad(node, f"the tag {node.tag!r} has no meaning here", "", "leave the tag out")
        try:
            value = construct(self._loader, node)
        except (ValueError, LookupError, OverflowError) as error:
            raise self._bad(
                node, f"{node.value[:40]!r} can not be read", str(error)[:80], "write it in quotes"
            ) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self._bad(
                node, f"{node.value!r} is no number in JSON", "", "write it in quotes, if it is text"
            )
        return value

    def _line(self, node: Any) -> int:
        return int(node.start_mark.line) + 1

    def _bad(self, node: Any, what: str, why: str, fix: str) -> BadInput:
        return BadInput(f"{self._source}:{self._line(node)}: {what}", why=why, fix=fix)


class Writer(yaml.SafeDumper):
    """Text that a parser in Go would take for something else is in quotes, too."""


# What gopkg.in/yaml, which kubectl and Cluster API read YAML with, knows besides PyYAML
# (https://github.com/kubernetes-sigs/yaml/blob/v1.4.0/goyaml.v2/resolve.go): ``n`` is false, ``1e3`` and
# ``089`` are numbers. All of them are names that an object may have.
Writer.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"(?:[yYnN]|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?0o[0-7_]+|[-+]?0[0-9_]+)\Z"
    ),
    list("yYnN-+.0123456789"),
)


def written(value: Any) -> str:
    """``value`` as YAML in which every program that reads YAML finds the same."""
    return str(yaml.dump(value, Dumper=Writer, sort_keys=False))


def problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the parser's quote of the lines around it: they may hold a secret."""
    mark = _mark(error)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return where + (getattr(error, "problem", None) or "it can not be parsed")


def _mark(error: yaml.YAMLError) -> Any:
    return getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)


def _not_yaml(error: yaml.YAMLError, source: str) -> BadInput:
    mark = _mark(error)
    where = f"{source}:{mark.line + 1}" if mark is not None else source
    return BadInput(
        f"{where}: this is not YAML",
        why=getattr(error, "problem", None) or "it can not be parsed",
        fix="correct it there, or in the line above",
    )
