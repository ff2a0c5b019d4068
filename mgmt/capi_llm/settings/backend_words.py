"""``backends:`` of a model in capi-llm.yaml, read word by word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from capi_llm import fields
from capi_llm.backends import PROVIDERS, TYPES, BackendType
from capi_llm.documents import below
from capi_llm.errors import BadInput
from capi_llm.fields.names import shown
from capi_llm.settings.models import (
    DEPLOYED,
    WITH_URL,
    Backend,
    KeyRef,
    Serving,
    backend_type,
    default_model,
)
from capi_llm.settings.wording import matching, one_of, required, text, whole, words

WORDS = ("name", "type", "model", "url", "weight", "apiKey", "deploy", "answer")
SERVING_WORDS = ("gpus", "memoryFraction", "runtimeClass", "volume")

_OBJECT = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_ENTRY = r"[-._a-zA-Z0-9]{1,253}"
_SIZE = r"[1-9][0-9]*(Mi|Gi|Ti)"
_URL = r"https?://[^\s/?#]+[^\s?#]*"
_MOST_WEIGHT = 1000
_LONGEST_ANSWER = 4000


def backend(value: Any, where: str, model: str) -> Backend:
    """One backend of ``model``. Raises BadInput."""
    said = words(value, where, WORDS)
    kind = backend_type(required(said, "type", where, one_of(TYPES)))
    name = said.get("name")
    url, serving = _url(said, where, kind), _serving(said, where, kind)
    if kind in DEPLOYED and not url and serving is None:
        raise BadInput(
            f"{where}: nobody says where {kind} serves {model!r}",
            fix="write `url:` of one that is there, or `deploy: {gpus: 1}` for one in the cluster",
        )
    if url and serving is not None:
        raise BadInput(
            f"{below(where, 'deploy')}: a backend has `url` or `deploy`, not both",
            why="what capi-llm deploys has an address of its own",
            fix="leave one of them out",
        )
    answer = said.get("answer")
    if answer is not None and kind != "mock":
        raise BadInput(f"{below(where, 'answer')}: only a mock says always the same", fix="remove it")
    return Backend(
        name=fields.dns_label(text(name, below(where, "name")), below(where, "name"), longest=40)
        if name is not None
        else kind,
        type=kind,
        model=matching(
            said.get("model", default_model(model, kind)), below(where, "model"), r"\S{1,200}",
            "the name of a model", "write it as the backend has it, such as tinyllama",
        ),
        url=url,
        weight=whole(said, "weight", where, 0, _MOST_WEIGHT),
        key=_key(said, where, kind),
        serving=serving,
        answer=text(answer, below(where, "answer"))[:_LONGEST_ANSWER] if answer is not None else "",
        where=where,
    )  # fmt: skip


def _url(said: Mapping[str, Any], where: str, kind: BackendType) -> str:
    at, value = below(where, "url"), said.get("url")
    if value is None:
        if kind in ("openai-compatible", "bentoml"):
            raise BadInput(f"{at}: it is missing", fix="e.g. url: http://triton.models:9000/v1")
        return ""
    if kind not in WITH_URL:
        raise BadInput(
            f"{at}: {kind} has no address to say",
            fix="for another server with OpenAI's API write `type: openai-compatible`"
            if kind in PROVIDERS
            else "remove it",
        )
    return check_url(value, at, kind)


def check_url(value: Any, at: str, kind: BackendType) -> str:
    """The address of a backend, without a slash at its end. Raises BadInput."""
    said = text(value, at)
    parts = urlsplit(said) if re.fullmatch(_URL, said) else None
    try:
        good = bool(parts and parts.hostname and (parts.port is None or parts.port))
    except ValueError:  # a port that can not be
        good = False
    if not good or parts is None:
        raise BadInput(
            f"{at}: {shown(said.partition('@')[2] or said)} is not an address",
            fix="e.g. http://model-worker:8000/v1",
        )
    if parts.username or parts.password:
        raise BadInput(
            f"{at}: a user or password does not belong into an address",
            why="it would stand in the ConfigMap for all to read",
            fix="put the key into a Secret and name it with `apiKey: {secret: …, key: …}`",
        )
    bare = said.rstrip("/")
    path = urlsplit(bare).path
    if kind == "ollama" and path.endswith("/v1"):
        raise BadInput(f"{at}: LiteLLM wants Ollama's address without /v1", fix=f"write {bare[:-3]}")
    if kind != "ollama" and not path:
        raise BadInput(
            f"{at}: {shown(bare)} has no path",
            why="the API of OpenAI stands below /v1 there",
            fix=f"write {bare}/v1",
        )
    return bare


def _key(said: Mapping[str, Any], where: str, kind: BackendType) -> KeyRef | None:
    at, value = below(where, "apiKey"), said.get("apiKey")
    if value is None:
        return None
    if kind in ("ollama", "mock"):
        raise BadInput(f"{at}: {kind} wants no key", fix="remove it")
    if not isinstance(value, dict):  # the value is not shown: it may be a key
        raise BadInput(
            f"{at}: a key does not belong into this file",
            why="it would end in git; the value is not shown here",
            fix="write `apiKey: {secret: NAME, key: KEY}`, and make a new key if this file was shared",
        )
    found = words(value, at, ("variable", "secret", "key"))
    if "variable" in found:
        if len(found) > 1:
            raise BadInput(f"{at}: a key is in a variable or in a Secret", fix="leave one of them out")
        known = tuple(PROVIDERS.values())
        return KeyRef(variable=one_of(known)(found["variable"], below(at, "variable")))
    return KeyRef(
        secret=required(found, "secret", at, lambda item, place: matching(
            item, place, _OBJECT, "the name of a Secret", "e.g. deepseek-local")),
        key=required(found, "key", at, lambda item, place: matching(
            item, place, _ENTRY, "a key of a Secret", "e.g. api-key")),
    )  # fmt: skip


def _serving(said: Mapping[str, Any], where: str, kind: BackendType) -> Serving | None:
    at, value = below(where, "deploy"), said.get("deploy")
    if value is None:
        return None
    if kind not in DEPLOYED:
        raise BadInput(
            f"{at}: capi-llm deploys {' and '.join(DEPLOYED)}, not {kind}",
            fix="remove it" + ("; Ollama is an app of its own" if kind == "ollama" else ""),
        )
    found = words(value, at, SERVING_WORDS)
    part = found.get("memoryFraction")
    if part is not None and (
        isinstance(part, bool) or not isinstance(part, int | float) or not 0 < part <= 1
    ):
        raise BadInput(
            f"{below(at, 'memoryFraction')}: {shown(part)} is not a part of 1",
            fix="e.g. 0.9, or 0.45 for two",
        )
    runtime = found.get("runtimeClass")
    return Serving(
        gpus=whole(found, "gpus", at, 1, 64) or 1,
        memory_fraction=float(part) if part is not None else None,
        runtime_class=fields.dns_label(text(runtime, below(at, "runtimeClass")), below(at, "runtimeClass"))
        if runtime is not None
        else "",
        volume=matching(found["volume"], below(at, "volume"), _SIZE, "a size", "e.g. 40Gi")
        if found.get("volume") is not None
        else "",
    )
