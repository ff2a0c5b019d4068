"""What serves a model: words of ``models:`` in capi-llm.yaml and of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

BackendType = Literal[
    "ollama", "vllm", "sglang", "openai", "deepseek", "openai-compatible", "bentoml", "mock"
]
TYPES: tuple[BackendType, ...] = get_args(BackendType)

PROVIDERS: Mapping[BackendType, str] = {"openai": "OPENAI_API_KEY", "deepseek": "DEEPSEEK_API_KEY"}
"""Backends outside of the cluster, and the variable with the key that they want."""
