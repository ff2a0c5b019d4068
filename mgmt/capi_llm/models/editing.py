"""``models:`` of capi-llm.yaml, changed as a person would: comments stay, and so does every other line.

Only the lines of ``models:`` are written anew, by ruamel.yaml, which keeps comments inside of them. The
result is read as any settings file is before it replaces the old one, at once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from capi_llm import documents, versions
from capi_llm.errors import BadInput
from capi_llm.files import replace
from capi_llm.settings import Model
from capi_llm.settings.models import written
from capi_llm.settings.sources import of_document
from capi_llm.settings.table import FILE

WORD = "models"

Listed = Any
"""The list of ruamel.yaml: maps as the file has them."""


def put(models: Sequence[Model]) -> Callable[[Listed], None]:
    """A change: each of ``models`` in place of the one of its name, else at the end."""

    def change(listed: Listed) -> None:
        for model in models:
            fresh = written(model)
            number = _number(listed, model.name)
            if number is None:
                listed.append(fresh)
            else:
                _merge(listed[number], fresh)

    return change


def take_out(name: str) -> Callable[[Listed], None]:
    """A change: no model of that name."""

    def change(listed: Listed) -> None:
        number = _number(listed, name)
        if number is not None:
            del listed[number]

    return change


def changed(text: str, change: Callable[[Listed], None], *, where: str) -> str:
    """``text`` of a settings file with ``models:`` changed. Raises BadInput; ``where`` names the file."""
    lines = text.splitlines(keepends=True)
    begin, end = _block(lines)
    block = "".join(lines[begin:end])
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        data = yaml.load(block) if block else CommentedMap()
    except YAMLError as error:
        # Its own words quote the file.
        raise _by_hand(where, getattr(error, "problem", None) or "it can not be parsed") from None
    if data.get(WORD) is None:
        data[WORD] = CommentedSeq()
    change(data[WORD])
    out = io.StringIO()
    yaml.dump(data, out)
    if begin == end and lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
        begin = end = len(lines)
    return "".join([*lines[:begin], out.getvalue(), *lines[end:]])


def save(path: Path | None, change: Callable[[Listed], None]) -> tuple[Path, bool]:
    """Change the file at ``path``, or make capi-llm.yaml; returns where, and whether anything was written.

    Raises BadInput where the result would not be read, before anything is written.
    """
    file = path if path is not None else Path(FILE)
    try:
        before = documents.read(file, "--config")
    except FileNotFoundError:
        before = f"apiVersion: {versions.API_VERSION}\nkind: Settings\n"
    after = changed(before, change, where=str(file))
    check(after, before, str(file))
    if after == before:
        return file, False
    replace(file, after)
    return file, True


def check(after: str, before: str, where: str) -> None:
    """Raise BadInput where ``after`` would not be read, or says anything but ``models`` otherwise."""
    found = documents.load(after, where)
    if len(found) != 1:
        raise _by_hand(where, "it has to hold one document")
    for said in of_document(found[0]).values():
        said.setting.kind.check(said.value, said.where)
    old = documents.load(before, where)
    own = [{key: value for key, value in item.data.items() if key != WORD} for item in (*old, *found)]
    if len(own) == 2 and own[0] != own[1]:
        raise _by_hand(where, "values of it are used in other places of the file")


def _block(lines: Sequence[str]) -> tuple[int, int]:
    """The lines of ``models:``: from its key to the last one that is part of it; at the end without any."""
    begin = next((n for n, line in enumerate(lines) if line.startswith((f"{WORD}:", f"'{WORD}':"))), None)
    if begin is None:
        return len(lines), len(lines)
    end = begin + 1
    for number in range(begin + 1, len(lines)):
        line = lines[number]
        if line[:1] in (" ", "\t", "-"):
            end = number + 1
        elif line.strip() and not line.startswith("#"):
            break
    return begin, end


def _number(listed: Listed, name: str) -> int | None:
    return next((n for n, item in enumerate(listed) if item.get("name") == name), None)


def _merge(old: Any, new: dict[str, Any]) -> None:
    """Make ``old`` say what ``new`` does, touching only what differs, so that comments stay."""
    for word in [word for word in old if word not in new and old[word] is not None]:
        del old[word]
    for word, value in new.items():
        if word == "backends" and isinstance(old.get(word), list):
            _merge_backends(old[word], value)
        elif old.get(word) != value:
            old[word] = value


def _merge_backends(old: Any, new: list[dict[str, Any]]) -> None:
    known = {item.get("name", item.get("type")): item for item in old}
    wanted = {item.get("name", item["type"]): item for item in new}
    for number in reversed(range(len(old))):
        if old[number].get("name", old[number].get("type")) not in wanted:
            del old[number]
    for name, item in wanted.items():
        if name in known:
            _merge(known[name], item)
        else:
            old.append(item)


def _by_hand(where: str, why: str) -> BadInput:
    return BadInput(f"{where}: `{WORD}` can not be changed by a program", why=why, fix="change it by hand")
