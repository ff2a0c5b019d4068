"""The models that are there without anybody saying so."""

from __future__ import annotations

from collections.abc import Collection

from capi_llm.backends import PROVIDERS
from capi_llm.settings import Backend, Model

_TINY = Model("ollama/tinyllama", (Backend("ollama", "ollama", "tinyllama"),))
_OF_PROVIDERS = (
    Model("openai/gpt-3.5-turbo", (Backend("openai", "openai", "gpt-3.5-turbo"),)),
    Model("deepseek/deepseek-chat", (Backend("deepseek", "deepseek", "deepseek-chat"),)),
)


def models(keys: Collection[str]) -> tuple[Model, ...]:
    """Those of a cluster where ``keys`` are there, such as ``OPENAI_API_KEY``."""
    return (_TINY, *(model for model in _OF_PROVIDERS if PROVIDERS[model.backends[0].type] in keys))
