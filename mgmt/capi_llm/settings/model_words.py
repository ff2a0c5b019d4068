"""``models:`` of capi-llm.yaml, read word by word, each mistake with its place and what to do.

What can not be right whatever the cluster is: a name that is there twice, a weight that is missing (LiteLLM
takes it as 0: litellm/router_strategy/simple_shuffle.py), a fallback to nothing or in a circle, an address
without a scheme.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from capi_llm.documents import below
from capi_llm.errors import BadInput
from capi_llm.fields.names import shown
from capi_llm.settings.backend_words import backend
from capi_llm.settings.models import ANY, Backend, Model
from capi_llm.settings.wording import matching, none_of, required, seconds, whole, words

NAME = r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,126}"
_MOST = 10**9

WORDS = (
    "name", "backends", "contextLength", "timeoutSeconds", "streamTimeoutSeconds", "fallbacks",
    "requestsPerMinute", "tokensPerMinute",
)  # fmt: skip


def read(value: Any, where: str) -> tuple[Model, ...]:
    """The models of the list ``value``. Raises BadInput with place and remedy."""
    if not isinstance(value, list):
        raise BadInput(
            f"{where}: {shown(value)} is not a list of models", fix="write `- name: …` for each of them"
        )
    models = tuple(_model(item, below(where, number)) for number, item in enumerate(value))
    check(models)
    return models


def check(models: Iterable[Model]) -> None:
    """Raise BadInput where models contradict each other: names that are there twice, fallbacks."""
    by_name: dict[str, Model] = {}
    for model in models:
        if model.name in by_name:
            raise BadInput(
                f"{below(model.where, 'name')}: model {model.name!r} is there twice",
                why=f"the other one is {by_name[model.name].where}",
                fix="make it one model with several backends, or give it another name",
            )
        by_name[model.name] = model
    for model in by_name.values():
        for number, other in enumerate(model.fallbacks):
            at = below(model.where, "fallbacks", number)
            if other not in by_name:
                raise none_of(f"{at}: there is no model {other!r}", other, by_name)
            if other == ANY:
                raise BadInput(f"{at}: {ANY!r} can be no fallback", fix="name one model")
    _check_circle(by_name)


def _check_circle(models: Mapping[str, Model]) -> None:
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " → ".join((*path[path.index(name) :], name))
            raise BadInput(
                f"{below(models[path[-1]].where, 'fallbacks')}: the fallbacks go round in a circle",
                why=circle,
                fix=f"take {name!r} out",
            )
        if name not in done:
            for other in models[name].fallbacks:
                walk(other, (*path, name))
            done.add(name)

    for name in models:
        walk(name, ())


def _model(value: Any, where: str) -> Model:
    said = words(value, where, WORDS)
    name = required(said, "name", where, model_name)
    listed = said.get("backends")
    if not isinstance(listed, list) or not listed:
        raise BadInput(
            f"{below(where, 'backends')}: model {name!r} has no backend",
            why="it has to be served somewhere",
            fix="write `backends: [{type: ollama}]`, or another type",
        )
    backends = tuple(
        backend(item, below(where, "backends", number), name) for number, item in enumerate(listed)
    )
    _check_backends(backends, name, below(where, "backends"))
    fallbacks = said.get("fallbacks") or []
    if not isinstance(fallbacks, list):
        raise BadInput(
            f"{below(where, 'fallbacks')}: {shown(fallbacks)} is not a list", fix="write `[OTHER]`"
        )
    return Model(
        name,
        backends,
        context_length=whole(said, "contextLength", where, 1, _MOST),
        timeout=seconds(said, "timeoutSeconds", where),
        stream_timeout=seconds(said, "streamTimeoutSeconds", where),
        fallbacks=tuple(
            matching(item, below(where, "fallbacks", number), rf"{NAME}|\*", "a model's name", "e.g. tiny")
            for number, item in enumerate(fallbacks)
        ),
        requests_per_minute=whole(said, "requestsPerMinute", where, 1, _MOST),
        tokens_per_minute=whole(said, "tokensPerMinute", where, 1, _MOST),
        where=where,
    )


def _check_backends(backends: tuple[Backend, ...], model: str, where: str) -> None:
    names: dict[str, Backend] = {}
    for item in backends:
        if item.name in names:
            raise BadInput(
                f"{item.where}: model {model!r} has two backends {item.name!r}",
                why=f"the other one is {names[item.name].where}",
                fix="give each of them a `name:` of its own, such as primary and canary",
            )
        names[item.name] = item
    weighted = [item for item in backends if item.weight is not None]
    lacking = next((item for item in backends if item.weight is None), None)
    if len(backends) > 1 and lacking is not None and weighted:
        raise BadInput(
            f"{lacking.where}: backend {lacking.name!r} has no weight, and others of {model!r} have one",
            why="LiteLLM takes a missing weight as 0, so it would get no request",
            fix="write `weight:` for each of them, or for none",
        )
    if weighted and not any(item.weight for item in backends):
        raise BadInput(
            f"{where}: all weights of {model!r} are 0",
            why="nobody would answer",
            fix="give one of them a weight above 0",
        )


def model_name(value: Any, where: str) -> str:
    """A name as clients ask for it. Raises BadInput."""
    return matching(
        value, where, rf"{NAME}|\*", "a model's name",
        "it is letters, digits and ./:_-, such as ollama/tinyllama; '*' stands for all others",
    )  # fmt: skip
