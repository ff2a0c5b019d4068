"""What the models mean for the apps of a cluster: values of bundles, and which bundles are there for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from capi_llm.errors import BadInput, PrerequisiteMissing
from capi_llm.models import defaults, litellm, serving
from capi_llm.settings import Model, Settings

CONFIG, GATEWAY, STARTUP, OLLAMA = "litellm-config", "litellm", "ollama-startup-config", "ollama"
REDIS, POSTGRESQL = "redis", "postgresql"


@dataclass(frozen=True)
class Plan:
    """``values`` by app; ``brings`` are apps that are there for it, ``spares`` those that nobody needs."""

    models: tuple[Model, ...]
    values: Mapping[str, Mapping[str, Any]]
    brings: tuple[str, ...] = ()
    spares: tuple[str, ...] = ()


def plan(settings: Settings, keys: Collection[str]) -> Plan:
    """The plan of a cluster where ``keys`` of providers are there, by variable. Raises BadInput."""
    own = settings.app_values.get(CONFIG) or {}
    if settings.models is not None and "models" in own:
        raise BadInput(
            f"{settings.models_at} and {settings.app_values_at}.{CONFIG}.models both say the models",
            why="one would win over the other in silence",
            fix="keep one of them",
        )
    models = defaults.models(keys) if settings.models is None else settings.models
    values: dict[str, dict[str, Any]] = {CONFIG: litellm.values(models), GATEWAY: _gateway(models)}
    brings: list[str] = []
    for kind, said in serving.servers(models).items():
        values[kind] = said
        brings.append(kind)
    pulled = serving.pulled(models)
    if pulled:
        values[STARTUP] = {"models": pulled}
    if settings.shared_limits:
        values[CONFIG]["redis"] = values[GATEWAY]["redis"] = {"enabled": True}
        brings.append(REDIS)
    if settings.client_keys:
        values[GATEWAY]["database"] = {"enabled": True}
        brings.append(POSTGRESQL)
    return Plan(models, values, tuple(brings), () if pulled else (STARTUP, OLLAMA))


def require_keys(models: Collection[Model], keys: Collection[str]) -> None:
    """Raise PrerequisiteMissing where a model wants a provider's key that nobody has."""
    for model in models:
        for backend in model.backends:
            key = litellm.key_of(backend)
            if key is not None and key.variable and key.variable not in keys:
                raise PrerequisiteMissing(
                    f"{key.variable} is missing",
                    on=f"model {model.name}, backend {backend.name}",
                    why=f"{backend.where} needs it, and it is neither in the environment nor in the cluster",
                    fix=f"put {key.variable} into the environment or .env, or take the backend out",
                )


def _gateway(models: Collection[Model]) -> dict[str, Any]:
    """Values of bundle litellm: keys from Secrets, and ports that its NetworkPolicy has to let through."""
    found: dict[str, dict[str, str]] = {}
    for model in models:
        for backend in model.backends:
            if backend.key is not None and backend.key.secret:
                name = litellm.variable(backend.key)
                ref = {"variable": name, "secretName": backend.key.secret, "key": backend.key.key}
                if found.setdefault(name, ref) != ref:
                    raise BadInput(
                        f"{backend.where}: the key of Secret {backend.key.secret!r} would be in {name}",
                        why=f"that of Secret {found[name]['secretName']!r} is there too",
                        fix="give one of the Secrets another name",
                    )
    ports = {
        urlsplit(backend.url).port
        for model in models
        for backend in model.backends
        if backend.url and urlsplit(backend.url).port
    }
    outside = {"networkPolicy": {"backendPorts": sorted(port for port in ports if port)}} if ports else {}
    return {"keys": list(found.values())} | outside
