"""The models that a cluster serves, as ``models:`` of capi-llm.yaml says them.

A model has a name, by which clients ask for it, and one backend or several, which share its requests by
weight. What is here is only read and checked; ``capi_llm.models`` makes LiteLLM's configuration and the
servers of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from capi_llm.backends import BackendType

DEPLOYED: tuple[BackendType, ...] = ("vllm", "sglang")
"""Backends that capi-llm can serve in the cluster."""

WITH_URL: tuple[BackendType, ...] = ("ollama", "vllm", "sglang", "openai-compatible", "bentoml")
"""Backends that have an address of their own; Ollama's is that of its bundle where none is said."""

ANY = "*"
"""Name of the model that stands for all that have no other."""


@dataclass(frozen=True)
class KeyRef:
    """Where the key of a backend is: a known variable, or a key of a Secret beside LiteLLM."""

    variable: str = ""
    secret: str = ""
    key: str = ""


@dataclass(frozen=True)
class Serving:
    """A server of our own in the cluster, on ``gpus`` of one node."""

    gpus: int = 1
    memory_fraction: float | None = None
    """Part of each GPU's memory that it may take; less where slices of a GPU are shared."""

    runtime_class: str = ""
    volume: str = ""
    """Size of the volume for weights, such as ``40Gi``; empty: that of the bundle."""


@dataclass(frozen=True)
class Backend:
    """One place where a model is served. ``name`` is its name among those of the model."""

    name: str
    type: BackendType
    model: str
    """Its name there."""

    url: str = ""
    weight: int | None = None
    key: KeyRef | None = None
    serving: Serving | None = None
    answer: str = ""
    """What a mock says."""

    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Model:
    """A model as clients see it. Times are seconds; limits are for a minute, over all clients."""

    name: str
    backends: tuple[Backend, ...]
    context_length: int | None = None
    timeout: float | None = None
    stream_timeout: float | None = None
    fallbacks: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    where: str = field(default="", compare=False)

    def backend(self, name: str) -> Backend | None:
        """The backend of that name."""
        return next((item for item in self.backends if item.name == name), None)

    @property
    def weights(self) -> dict[str, int]:
        """Weight by backend; a single one has all."""
        return {item.name: 1 if item.weight is None else item.weight for item in self.backends}


def backend_type(text: str) -> BackendType:
    """``text``, which is one of :data:`TYPES`."""
    return cast(BackendType, text)


def written(model: Model) -> dict[str, Any]:
    """``model`` as the file says it: what is as it would be anyway is left out."""
    found: dict[str, Any] = {
        "name": model.name,
        "backends": [_backend(model, item) for item in model.backends],
    }
    more = {
        "contextLength": model.context_length,
        "timeoutSeconds": model.timeout,
        "streamTimeoutSeconds": model.stream_timeout,
        "fallbacks": list(model.fallbacks),
        "requestsPerMinute": model.requests_per_minute,
        "tokensPerMinute": model.tokens_per_minute,
    }
    return found | {word: value for word, value in more.items() if value}


def _backend(model: Model, item: Backend) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if item.name != item.type:
        found["name"] = item.name
    found["type"] = item.type
    if item.model != default_model(model.name, item.type):
        found["model"] = item.model
    if item.url:
        found["url"] = item.url
    if item.weight is not None:
        found["weight"] = item.weight
    if item.key is not None:
        ref = item.key
        found["apiKey"] = (
            {"variable": ref.variable} if ref.variable else {"secret": ref.secret, "key": ref.key}
        )
    if item.serving is not None:
        serving = item.serving
        words = {
            "gpus": serving.gpus,
            "memoryFraction": serving.memory_fraction,
            "runtimeClass": serving.runtime_class,
            "volume": serving.volume,
        }
        found["deploy"] = {word: value for word, value in words.items() if value}
    if item.answer:
        found["answer"] = item.answer
    return found


def default_model(name: str, kind: BackendType) -> str:
    """What a model is called at a backend where nobody says it: its name without ``ollama/`` and the like."""
    return name.removeprefix(f"{kind}/")
