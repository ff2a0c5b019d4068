"""Models as servers in the cluster: values of bundles vllm and sglang, and what Ollama pulls; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from capi_llm.backends import BackendType
from capi_llm.documents import below
from capi_llm.errors import BadInput
from capi_llm.settings import Backend, Model
from capi_llm.settings.models import DEPLOYED

PORTS: Mapping[BackendType, int] = {"vllm": 8000, "sglang": 30000}
"""Where each listens (docs.vllm.ai/en/stable/serving/openai_compatible_server, docs.sglang.io)."""

SERVICE = "model-"
"""What Services of our servers begin with. One named ``vllm`` would give every pod VLLM_PORT=tcp://…, which
vLLM reads as its own setting (docs.vllm.ai/en/stable/configuration/env_vars)."""

_LONGEST = 40


def name_of(model: Model, backend: Backend) -> str:
    """The name of a server: of the model, and of the backend where there are several."""
    text = model.name if len(model.backends) == 1 else f"{model.name}-{backend.name}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST].strip("-")


def address(model: Model, backend: Backend) -> str:
    """Where LiteLLM, in the same namespace, reaches the server."""
    return f"http://{SERVICE}{name_of(model, backend)}:{PORTS[backend.type]}/v1"


def servers(models: Iterable[Model]) -> dict[BackendType, dict[str, Any]]:
    """Values by bundle. Raises BadInput where two servers would have one name."""
    found: dict[BackendType, list[dict[str, Any]]] = {kind: [] for kind in DEPLOYED}
    seen: dict[str, Backend] = {}
    for model in models:
        for backend in model.backends:
            if backend.serving is None:
                continue
            name = name_of(model, backend)
            if name in seen:
                raise BadInput(
                    f"{below(backend.where, 'deploy')}: its server would be called {SERVICE}{name}",
                    why=f"that of {seen[name].where} is called so too",
                    fix="give the model or its backend a name that differs in letters or digits",
                )
            seen[name] = backend
            found[backend.type].append(_server(name, model, backend))
    return {kind: {"models": servers} for kind, servers in found.items() if servers}


def pulled(models: Iterable[Model]) -> list[str]:
    """Models that the cluster's own Ollama has to have, each once."""
    names = [
        backend.model
        for model in models
        for backend in model.backends
        if backend.type == "ollama" and not backend.url
    ]
    return list(dict.fromkeys(names))


def _server(name: str, model: Model, backend: Backend) -> dict[str, Any]:
    serving = backend.serving
    assert serving is not None
    said = {
        "contextLength": model.context_length,
        "memoryFraction": serving.memory_fraction,
        "runtimeClassName": serving.runtime_class,
        "storageSize": serving.volume,
    }
    return {"name": name, "model": backend.model, "gpus": serving.gpus} | {
        word: value for word, value in said.items() if value
    }
