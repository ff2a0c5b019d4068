"""The upstreams and routes of an older gateway, as it has them in an environment file; pure.

    GATEWAY_UPSTREAMS=vllm=http://model-worker:8001;sglang=http://sglang-worker:8002
    GATEWAY_DEFAULT_UPSTREAM=vllm
    GATEWAY_ROUTE_POLICIES={"chat": {"strategy": "canary", "primary": "vllm", "canary": "sglang", …}}

A model with a policy becomes one with two backends. What has none goes to the default upstream: a model
``*``, which stands for all others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capi_llm import documents, fields
from capi_llm.backends import BackendType
from capi_llm.errors import BadInput, NotFound
from capi_llm.fields.names import shown
from capi_llm.settings import Backend, Model
from capi_llm.settings.backend_words import check_url
from capi_llm.settings.model_words import check, model_name
from capi_llm.settings.models import ANY, WITH_URL, backend_type
from capi_llm.settings.sources import variables

UPSTREAMS, DEFAULT, POLICIES = "GATEWAY_UPSTREAMS", "GATEWAY_DEFAULT_UPSTREAM", "GATEWAY_ROUTE_POLICIES"
STRATEGIES = ("canary", "single")
_WORDS = ("strategy", "primary", "canary", "percent")

Upstreams = Mapping[str, tuple[BackendType, str]]


def read(path: Path) -> tuple[Model, ...]:
    """The models of the file. Raises NotFound, BadInput with line and variable."""
    try:
        text = documents.read(path, "--env")
    except FileNotFoundError:
        raise NotFound("the file does not exist", on=str(path), fix="check --env") from None
    said = {name: (value, f"{path}:{line}: {name}") for name, (value, line) in variables(text).items()}
    if UPSTREAMS not in said:
        raise BadInput(
            f"{path}: {UPSTREAMS} is missing",
            fix=f"e.g. {UPSTREAMS}=vllm=http://model-worker:8001;sglang=http://sglang-worker:8002",
        )
    upstreams = _upstreams(*said[UPSTREAMS])
    models = _policies(*said[POLICIES], upstreams) if POLICIES in said else []
    if DEFAULT in said:
        models.append(_default(*said[DEFAULT], upstreams))
    if not models:
        raise BadInput(
            f"{path}: no model is named",
            why=f"neither {POLICIES} nor {DEFAULT} is there",
            fix=f"set {DEFAULT} to one of {', '.join(upstreams)}",
        )
    check(models)
    return tuple(models)


def _upstreams(text: str, where: str) -> Upstreams:
    found: dict[str, tuple[BackendType, str]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, url = part.partition("=")
        name = fields.dns_label(name.strip(), where, longest=40)
        if not equals:
            raise BadInput(f"{where}: {shown(part)} is not NAME=URL", fix=f"e.g. {name}=http://worker:8001")
        if name in found:
            raise BadInput(f"{where}: upstream {name!r} is there twice", fix="leave one of them out")
        kind = backend_type(name) if name in WITH_URL else backend_type("openai-compatible")
        found[name] = kind, _url(url.strip(), where, kind)
    if not found:
        raise BadInput(f"{where}: no upstream is named", fix="e.g. vllm=http://model-worker:8001")
    return found


def _url(text: str, where: str, kind: BackendType) -> str:
    # The older gateway added /v1 itself.
    bare = text.rstrip("/")
    _, scheme, rest = bare.partition("://")
    return check_url(f"{bare}/v1" if scheme and "/" not in rest and kind != "ollama" else bare, where, kind)


def _policies(text: str, where: str, upstreams: Upstreams) -> list[Model]:
    try:
        policies = json.loads(text)
    except ValueError as error:
        raise BadInput(f"{where}: this is not JSON", why=str(error), fix="write it in one line") from error
    if not isinstance(policies, dict):
        raise BadInput(
            f"{where}: it is not a map of models and policies", fix='e.g. {"chat": {"primary": "vllm"}}'
        )
    return [
        _policy(model_name(name, where), policy, f"{where}.{name}", upstreams)
        for name, policy in policies.items()
    ]


def _policy(name: str, policy: Any, where: str, upstreams: Upstreams) -> Model:
    if name in upstreams:
        raise BadInput(
            f"{where}: {name!r} is an upstream, and a policy is of a model",
            why="clients ask for a model's name",
            fix="write the name of a model that it serves",
        )
    if not isinstance(policy, dict):
        raise BadInput(f"{where}: {shown(policy)} is not a policy", fix='e.g. {"primary": "vllm"}')
    for word in policy:
        if word not in _WORDS:
            raise _unknown(f"{where}.{word} is not known", word, _WORDS)
    strategy = policy.get("strategy", "canary" if "canary" in policy else "single")
    if strategy not in STRATEGIES:
        raise _unknown(f"{where}.strategy: {shown(strategy)} is not known", str(strategy), STRATEGIES)
    primary = _upstream(policy, "primary", where, upstreams)
    if strategy == "single":
        return Model(name, (_backend(primary, primary, name, upstreams, None),), where=where)
    canary = _upstream(policy, "canary", where, upstreams)
    if canary == primary:
        raise BadInput(f"{where}: primary and canary are one upstream", fix="name another one")
    percent = policy.get("percent")
    if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
        raise BadInput(
            f"{where}.percent: {shown(percent)} is not a whole number from 0 to 100",
            why="it is how many requests of a hundred go to the canary",
            fix="e.g. 10",
        )
    return Model(
        name,
        (
            _backend("primary", primary, name, upstreams, 100 - percent),
            _backend("canary", canary, name, upstreams, percent),
        ),
        where=where,
    )


def _upstream(policy: Mapping[str, Any], word: str, where: str, upstreams: Upstreams) -> str:
    name = str(policy.get(word, ""))
    if name not in upstreams:
        raise _unknown(f"{where}.{word}: there is no upstream {shown(name)}", name, tuple(upstreams))
    return name


def _default(text: str, where: str, upstreams: Upstreams) -> Model:
    if text not in upstreams:
        raise _unknown(f"{where}: there is no upstream {shown(text)}", text, tuple(upstreams))
    return Model(ANY, (_backend(text, text, ANY, upstreams, None),), where=where)


def _backend(name: str, upstream: str, model: str, upstreams: Upstreams, weight: int | None) -> Backend:
    kind, url = upstreams[upstream]
    return Backend(name, kind, model, url, weight)


def _unknown(what: str, word: str, known: tuple[str, ...]) -> BadInput:
    close = fields.nearest(word, known)
    return BadInput(
        what,
        why=f"known are {', '.join(known)}",
        fix=f"did you mean {close!r}?" if close else f"use {known[0]!r}",
    )
