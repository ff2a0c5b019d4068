"""Where settings are said: capi-llm.yaml, .env, the environment. Each becomes a table of what it says."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from capi_llm import documents, fields, versions
from capi_llm.documents import Document, Trail, dotted
from capi_llm.errors import BadInput, NotFound
from capi_llm.fields.names import shown
from capi_llm.settings import kinds
from capi_llm.settings.table import (
    BY_PATH,
    BY_VARIABLE,
    CONFIG,
    DOTENV,
    FILE,
    KIND,
    PREFIX,
    SETTINGS,
    Setting,
)

Source = Literal["default", "file", ".env", "environment", "flag"]

_KNOWN = {*BY_VARIABLE, CONFIG}
_OURS = {"CAPI_LLM_SANDBOX", "CAPI_LLM_SANDBOX_PART"}
"""By these a sandbox's processes are known; they set nothing."""

# Kubernetes puts these into every container, here for a Service whose name begins with "capi-llm".
_SERVICE_LINK = re.compile(r"\w*_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)?)")


@dataclass(frozen=True)
class Said:
    """One value as somebody said it. ``where`` is for errors, ``place`` for ``config``.

    ``base`` is the folder that a relative path in it begins at; None is the current one.
    """

    setting: Setting
    value: Any
    where: str
    source: Source
    place: str
    base: Path | None = None


Layer = dict[str, Said]
"""What one source says, by the settings' paths."""


def of_environment(environ: Mapping[str, str]) -> Layer:
    """The variables of the table. Raises BadInput for a name that is nearly one of them."""
    lines = ((name, value, name, name) for name, value in environ.items())
    return _of_variables(lines, "environment")


def of_dotenv() -> tuple[Layer, Path | None]:
    """What ``.env`` in the current folder says, and which file its CAPI_LLM_CONFIG names."""
    lines = [*_dotenv_lines()]
    named = next((value for name, value, *_ in reversed(lines) if name == CONFIG and value), "")
    return _of_variables(iter(lines), ".env"), Path(named) if named else None


def everything() -> dict[str, str]:
    """All variables of the environment and of ``.env``, for those who look for secrets in other places."""
    return {**{name: value for name, value, *_ in _dotenv_lines()}, **os.environ}


def variables(text: str) -> dict[str, tuple[str, int]]:
    """Name → value and line of the environment file ``text``; what is empty or no NAME=VALUE is left out."""
    from dotenv.parser import parse_stream

    return {
        binding.key: (binding.value, binding.original.line)
        for binding in parse_stream(io.StringIO(text))
        if binding.key and binding.value
    }


def find_file(named: Path | None) -> Path | None:
    """The settings file: ``named``, else capi-llm.yaml of the current folder, if it is there."""
    if named is not None:
        return named
    try:
        return Path(FILE) if Path(FILE).exists() else None
    except OSError as error:
        raise BadInput("the file can not be read", on=FILE, why=error.strerror or str(error)) from error


def of_file(path: Path) -> Layer:
    """What the file says. Raises NotFound where it is not there, BadInput for what it can not say."""
    try:
        text = documents.read(path, "--config")
    except FileNotFoundError as error:
        raise NotFound("the file does not exist", on=str(path), fix=f"check --config and {CONFIG}") from error
    found = documents.load(text, str(path))
    head = f"apiVersion: {versions.API_VERSION}"
    if len(found) != 1:
        raise BadInput(
            f"{path}: it has to hold one document",
            why=f"it holds {len(found)}",
            fix=f"begin it with `{head}`",
        )
    return of_document(found[0], path.parent)


def of_document(document: Document, base: Path | None = None) -> Layer:
    """What the document of such a file says."""
    data = kinds.mapping(document.data, document.at())
    check_head(document, KIND, optional_kind=True)
    layer: Layer = {}
    for trail, value in _leaves(
        document, {key: data[key] for key in data if key not in ("apiVersion", "kind")}, ()
    ):
        setting = BY_PATH[dotted(trail)]
        where = document.at(*trail)
        if value is not None:
            place = where.partition(f": {setting.path}")[0]
            layer[setting.path] = Said(setting, value, where, "file", place, base)
    return layer


def check_head(document: Document, kind: str, *, optional_kind: bool = False) -> None:
    """Raise BadInput where ``apiVersion`` or ``kind`` is not what capi-llm reads."""
    for word, wanted in (("apiVersion", versions.API_VERSION), ("kind", kind)):
        value = document.data.get(word)
        if value == wanted or (word == "kind" and optional_kind and word not in document.data):
            continue
        raise BadInput(
            f"{document.at(word)} is {shown(value)}"
            if value is not None
            else f"{document.at(word)} is missing",
            why=f"this version of capi-llm reads {wanted}",
            fix=f"write `{word}: {wanted}`",
        )


def _leaves(document: Document, data: Mapping[str, Any], above: Trail) -> Iterator[tuple[Trail, Any]]:
    for key, value in data.items():
        trail = (*above, key)
        path = dotted(trail)
        setting = BY_PATH.get(path) if "." not in key else None
        if setting and setting.secret:
            raise BadInput(
                f"{document.at(*trail)}: a secret does not belong into this file",
                why="it would end in git; the value is not shown here",
                fix=f"put {setting.variable} into the environment or into {DOTENV}, and make a new one "
                "if this file was shared",
            )
        if setting:
            yield trail, value
        elif "." not in key and any(known.startswith(f"{path}.") for known in BY_PATH):
            yield from _leaves(
                document, kinds.mapping({} if value is None else value, document.at(*trail)), trail
            )
        else:
            raise _unknown_key(document, trail)


def _unknown_key(document: Document, trail: Trail) -> BadInput:
    above = dotted(trail[:-1])
    prefix = f"{above}." if above else ""
    paths = [setting.path for setting in SETTINGS if not setting.secret]
    siblings = {
        prefix + path.removeprefix(prefix).partition(".")[0] for path in paths if path.startswith(prefix)
    }
    if not above:
        siblings |= {"apiVersion", "kind"}
    word = str(trail[-1])
    close = fields.nearest(prefix + word, siblings)
    if not close:  # the right word in the wrong section
        last = fields.nearest(word, {path.rpartition(".")[2] for path in paths})
        close = next((path for path in paths if path.rpartition(".")[2] == last), "") if last else ""
    return BadInput(
        f"{document.at(*trail[:-1], trail[-1]).rpartition(': ')[0]}: {shown(dotted(trail))} is not known",
        why=f"known are {', '.join(sorted(siblings))}",
        fix=f"did you mean {close!r}?" if close else "remove it; `capi-llm config schema` has every word",
    )


def _of_variables(lines: Iterator[tuple[str, str, str, str]], source: Source) -> Layer:
    layer: Layer = {}
    for name, value, where, place in lines:
        if not value:
            continue  # empty is as good as not set
        setting = BY_VARIABLE.get(name)
        if setting is not None:
            layer[setting.path] = Said(setting, setting.kind.of_text(value, where), where, source, place)
        elif name.startswith(PREFIX) and name not in _KNOWN | _OURS and not _SERVICE_LINK.fullmatch(name):
            ours = {item.removeprefix(PREFIX): item for item in _KNOWN if item.startswith(PREFIX)}
            close = ours.get(fields.nearest(name.removeprefix(PREFIX), ours), "")
            raise BadInput(
                f"{where} is not a variable of capi-llm",
                why="names that begin with CAPI_LLM_ are checked, so that a typing error is not overlooked",
                fix=f"did you mean {close}?"
                if close
                else f"unset {name}; `capi-llm config -o yaml` has every variable",
            )
    return layer


def _dotenv_lines() -> Iterator[tuple[str, str, str, str]]:
    """Name, value, and the place in both forms, of each line that says something about capi-llm."""
    from dotenv.parser import parse_stream

    try:
        text = "" if Path(DOTENV).is_dir() else documents.read(Path(DOTENV), DOTENV)
    except FileNotFoundError:
        return
    except (BadInput, OSError) as error:
        raise BadInput(
            f"the file {DOTENV} can not be read",
            why=getattr(error, "why", "") or str(error),
            fix="correct it, or move it away",
        ) from error
    for binding in parse_stream(io.StringIO(text)):
        written = binding.original.string
        number = binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        if binding.error:
            if any(name in written for name in (PREFIX, *_KNOWN)):
                raise BadInput(
                    f"{DOTENV}:{number}: the line can not be read",
                    why="it is not NAME=VALUE",
                    fix="write NAME=VALUE, with quotes around a value that has spaces",
                )
            continue  # a line of another program
        if binding.key is not None and binding.value is not None:
            where = f"{DOTENV}:{number}: {binding.key}"
            yield binding.key, binding.value, where, f"{DOTENV}:{number} {binding.key}"
