"""Where a model's configuration comes from: a file, the table that is shipped, or Hugging Face.

Beside a file, the sizes of the checkpoint's tensors are read where they are: from
``model.safetensors.index.json``, or from the headers of ``*.safetensors``
(https://huggingface.co/docs/safetensors/index#format). Tensors themselves never are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capi_llm.errors import BadInput, FetchFailed, NotFound
from capi_llm.models import fit_known
from capi_llm.models.fit import Model
from capi_llm.models.fit_config import Architecture, parse

INDEX = "model.safetensors.index.json"
SITE = "https://huggingface.co"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_LARGEST = 64 << 20
"""Bytes of a JSON file or of a safetensors header that are read; the format's own limit is 100 MB."""


def find(word: str, *, offline: bool, site: str = SITE) -> tuple[Model, str]:
    """The model that ``word`` names, and where its configuration was found.

    A path of a config.json or its folder, a shipped name, or OWNER/NAME on Hugging Face, which is not asked
    where ``offline``. Raises BadInput, NotFound, FetchFailed.
    """
    path = Path(word)
    if path.exists():
        return _of_path(path)
    if word.startswith((".", "/", "~")) or word.endswith(".json"):
        raise NotFound("there is no such file or folder", on=word, fix="name a config.json or its folder")
    if known := fit_known.find(word):
        name, config = known
        return Model(name, parse(config, name)), "the table of this version"
    near = fit_known.near(word)
    meant = f"did you mean {near[0]}? " if near else ""
    if not _NAME.fullmatch(word):
        raise NotFound(
            f"there is no model {word[:100]!r} in the table",
            why=f"there are {', '.join(name.partition('/')[2] for name in fit_known.KNOWN)}",
            fix=f"{meant}name it OWNER/NAME as on {SITE}, or a folder with its config.json",
        )
    if offline:
        raise NotFound(
            f"model {word!r} is not in the table, and Hugging Face is not asked",
            why="CAPI_LLM_OFFLINE says so",
            fix=f"{meant}bring its config.json here and name that",
        )
    return _of_site(word, site), f"{SITE}/{word}"


def _of_path(path: Path) -> tuple[Model, str]:
    config = path / "config.json" if path.is_dir() else path
    if not config.is_file():
        raise NotFound("there is no config.json", on=str(path), fix="name the folder that has it")
    found = _json(_read(config), str(config))
    name = (path if path.is_dir() else path.parent).absolute().name or "model"
    return Model(name, parse(found, str(config)), _stored(config.parent)), str(config)


def _of_site(name: str, site: str) -> Model:
    from capi_llm import http

    limits = http.Limits(attempts=2)
    try:
        text = http.fetch_text(f"{site}/{name}/resolve/main/config.json", limits=limits)
    except FetchFailed as error:
        raise FetchFailed(
            f"the configuration of {name} can not be had", on=error.on, why=error.why,
            fix="accept the model's terms there and bring its config.json here, or name one of the table",
        ) from error  # fmt: skip
    arch = parse(_json(text.encode(), name), name)
    try:
        index = _json(http.fetch_text(f"{site}/{name}/resolve/main/{INDEX}", limits=limits).encode(), name)
    except (FetchFailed, BadInput):
        index = {}  # small models have no index, and that of a very large one is too long
    return Model(name, arch, _believable(arch, _total(index)))


def _stored(folder: Path) -> int | None:
    """Bytes of the tensors in ``folder``; None where it has none. The files themselves are trusted more."""
    files = sorted(folder.glob("*.safetensors"))
    index = folder / INDEX
    if index.is_file():
        found = _json(_read(index), str(index))
        names = set(found["weight_map"].values()) if isinstance(found.get("weight_map"), dict) else set()
        if not names or names - {file.name for file in files}:
            return _total(found)
        files = [file for file in files if file.name in names]
    return sum(map(_tensors, files)) if files else None


def _total(index: Mapping[str, Any]) -> int | None:
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    return int(total) if isinstance(total, int | float) and total > 0 else None


def _believable(arch: Architecture, total: int | None) -> int | None:
    """The index of some FP8 checkpoints says twice the size that they have: it is left alone for those."""
    return None if arch.quantized and arch.quantized.method == "fp8" else total


def _tensors(file: Path) -> int:
    """Bytes of the tensors of one file, from its header."""
    try:
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            header = opened.read(size) if size <= _LARGEST else b""
    except OSError as error:
        raise BadInput("a file can not be read", on=str(file), why=error.strerror or str(error)) from error
    items = _json(header, str(file))
    try:
        ends = [item["data_offsets"] for name, item in items.items() if name != "__metadata__"]
        return sum(int(end) - int(begin) for begin, end in ends)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput("a file is no safetensors file", on=str(file), fix="download it again") from error


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise BadInput("a file is too large", on=str(path), why=f"more than {_LARGEST >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise BadInput("a file can not be read", on=str(path), why=error.strerror or str(error)) from error


def _json(text: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput("it is no JSON", on=where, why=str(error)[:200], fix="download it again") from error
    if not isinstance(found, dict):
        raise BadInput("it is no JSON object", on=where, fix="name a model's config.json")
    return found
