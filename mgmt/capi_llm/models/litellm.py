"""Models as LiteLLM's ``model_list`` and ``router_settings``; pure.

https://docs.litellm.ai/docs/proxy/configs, https://docs.litellm.ai/docs/routing. Checked against LiteLLM
1.106.2:

- ``openai/`` sends OPENAI_API_KEY to any address where an entry has no key of its own. So servers without
  a key are ``hosted_vllm/``, which speaks the same API and sends a word that is no key.
- An entry of weight 0 is chosen all the same where no other one is healthy
  (litellm/router_strategy/simple_shuffle.py). So a backend of weight 0 is an entry of another name.
- An entry's ``model_info.id`` can be asked for like a model, and comes back in x-litellm-model-id.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from capi_llm.backends import PROVIDERS, BackendType
from capi_llm.models.serving import address
from capi_llm.settings import Backend, KeyRef, Model

SPEAKS: Mapping[BackendType, str] = {
    "ollama": "ollama_chat",
    "vllm": "hosted_vllm",
    "sglang": "hosted_vllm",
    "openai": "openai",
    "deepseek": "deepseek",
    "openai-compatible": "hosted_vllm",
    "bentoml": "hosted_vllm",
    "mock": "hosted_vllm",
}
"""LiteLLM's provider for each type of backend (https://docs.litellm.ai/docs/providers)."""

NOWHERE = "http://127.0.0.1:9/v1"
"""Address of a mock, which is never asked."""

LIMITS = "enforce_model_rate_limits"
"""LiteLLM's check that makes limits of an entry hold (litellm/router.py, optional_pre_call_checks)."""


def entry_id(model: str, backend: str) -> str:
    """By what LiteLLM calls one backend of a model with several: ``chat@canary``."""
    return f"{model}@{backend}"


def variable(key: KeyRef) -> str:
    """The environment variable of LiteLLM that has ``key``."""
    if key.variable:
        return key.variable
    return "KEY_" + re.sub(r"[^A-Z0-9]", "_", f"{key.secret}_{key.key}".upper())


def key_of(backend: Backend) -> KeyRef | None:
    """The key that ``backend`` is asked with; a provider's own where nobody says another."""
    if backend.key is None and backend.type in PROVIDERS:
        return KeyRef(variable=PROVIDERS[backend.type])
    return backend.key


def values(models: Iterable[Model]) -> dict[str, Any]:
    """``models`` as values of bundle litellm-config."""
    models = tuple(models)
    return {
        "models": [_entry(model, backend) for model in models for backend in model.backends],
        "openai": {"enabled": False},  # it is one of the models
        "routing": {
            "fallbacks": [{model.name: list(model.fallbacks)} for model in models if model.fallbacks],
            "limits": any(model.requests_per_minute or model.tokens_per_minute for model in models),
            "contextChecks": any(model.context_length for model in models),
        },
    }


def _entry(model: Model, backend: Backend) -> dict[str, Any]:
    weighted = len(model.backends) > 1
    weight = model.weights[backend.name]
    name = entry_id(model.name, backend.name) if weighted and not weight else model.name
    found: dict[str, Any] = {"model_name": name, "litellm_params": _params(model, backend, weight)}
    if weighted and weight:
        found["litellm_params"]["weight"] = weight
    info: dict[str, Any] = {}
    if weighted:
        info["id"] = entry_id(model.name, backend.name)
    if model.context_length:
        info["max_input_tokens"] = model.context_length
    return found | ({"model_info": info} if info else {})


def _params(model: Model, backend: Backend, weight: int) -> dict[str, Any]:
    params: dict[str, Any] = {"model": f"{SPEAKS[backend.type]}/{backend.model}"}
    if backend.type == "mock":
        params["api_base"] = NOWHERE
        params["mock_response"] = backend.answer or f"This is the mock {model.name}."
    elif backend.serving is not None:
        params["api_base"] = address(model, backend)
    elif backend.url:
        params["api_base"] = backend.url
    key = key_of(backend)
    if key is not None:
        params["api_key"] = f"os.environ/{variable(key)}"
        if backend.type in ("openai-compatible", "bentoml"):
            params["model"] = f"openai/{backend.model}"
    if backend.type == "ollama" and model.context_length:
        params["num_ctx"] = model.context_length
    total = sum(model.weights.values())
    for word, limit in (("rpm", model.requests_per_minute), ("tpm", model.tokens_per_minute)):
        if limit and weight:
            params[word] = math.ceil(limit * weight / total)
    for word, seconds in (("timeout", model.timeout), ("stream_timeout", model.stream_timeout)):
        if seconds:
            params[word] = seconds
    return params
