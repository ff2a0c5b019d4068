"""The shares of a model's backends: another split, promotion of a canary, rollback; pure.

The first backend of a model is its primary, whatever it is called; rollback gives everything back to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from capi_llm import fields
from capi_llm.errors import BadInput, Refused
from capi_llm.fields.names import shown
from capi_llm.settings import Model

ALL = 100
_SHARE = re.compile(r"([^=]+)=([0-9]{1,4})%?")
_MOST = 1000


def find(models: Iterable[Model], name: str) -> Model:
    """The model of that name. Raises BadInput."""
    by_name = {model.name: model for model in models}
    if name not in by_name:
        raise _unknown(f"there is no model {shown(name)}", name, tuple(by_name))
    return by_name[name]


def shares(model: Model, words: Iterable[str]) -> dict[str, int]:
    """Weights by backend of ``primary=90 canary=10``: each backend has to be named. Raises BadInput."""
    names = tuple(item.name for item in model.backends)
    found: dict[str, int] = {}
    for word in words:
        match = _SHARE.fullmatch(word)
        if match is None:
            raise BadInput(f"{shown(word)} is not BACKEND=WEIGHT", fix=f"e.g. {names[0]}=90")
        name, weight = match[1], int(match[2])
        if name not in names:
            raise no_backend(model, name)
        if name in found:
            raise BadInput(f"backend {name!r} is named twice", fix="leave one of them out")
        if weight > _MOST:
            raise BadInput(f"{shown(word)}: {_MOST} is the most", fix=f"e.g. {name}=90")
        found[name] = weight
    lacking = [name for name in names if name not in found]
    if lacking:
        raise BadInput(
            f"backend {lacking[0]!r} of model {model.name!r} has no weight",
            why="LiteLLM takes a missing weight as 0, so it would get no request",
            fix=f"say it too, e.g. {lacking[0]}=0",
        )
    if not any(found.values()):
        raise BadInput("all weights are 0", why="nobody would answer", fix=f"e.g. {names[0]}=100")
    return {name: found[name] for name in names}


def promotion(model: Model, backend: str = "") -> dict[str, int]:
    """Everything to ``backend``: without a name, to the only one that is not the primary. Raises BadInput."""
    others = [item.name for item in model.backends[1:]]
    if not others:
        raise Refused(
            f"model {model.name!r} has one backend",
            why="there is nothing to promote",
            fix=f"capi-llm models add {model.name} --backend canary --type … adds one",
        )
    names = tuple(item.name for item in model.backends)
    if backend and backend not in names:
        raise no_backend(model, backend)
    if not backend and len(others) > 1:
        raise BadInput(
            f"model {model.name!r} has several backends to promote",
            why=f"they are {', '.join(others)}",
            fix=f"name one: capi-llm models promote {model.name} {others[0]}",
        )
    return {name: ALL if name == (backend or others[0]) else 0 for name in names}


def rollback(model: Model) -> dict[str, int]:
    """Everything to the primary."""
    if len(model.backends) < 2:
        raise Refused(
            f"model {model.name!r} has one backend", why="there is nothing to roll back to", fix="nothing"
        )
    return {item.name: 0 if number else ALL for number, item in enumerate(model.backends)}


def routed(model: Model, weights: Mapping[str, int]) -> Model:
    """``model`` with those weights."""
    return replace(model, backends=tuple(replace(item, weight=weights[item.name]) for item in model.backends))


def no_backend(model: Model, name: str) -> BadInput:
    """The error for a backend that ``model`` has not."""
    names = tuple(item.name for item in model.backends)
    return _unknown(f"model {model.name!r} has no backend {shown(name)}", name, names)


def _unknown(what: str, word: str, known: tuple[str, ...]) -> BadInput:
    close = fields.nearest(word, known)
    return BadInput(
        what,
        why=f"known are {', '.join(known)}" if known else "there are none",
        fix=f"did you mean {close!r}?" if close else f"use {known[0]!r}" if known else "add one first",
    )
