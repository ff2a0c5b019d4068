"""JSON Schema of ``models:``: what :mod:`capi_llm.settings.model_words` takes, it takes too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capi_llm.backends import PROVIDERS, TYPES
from capi_llm.fields import names
from capi_llm.settings import model_words


def _closed(words: Mapping[str, Mapping[str, Any]], *required: str) -> dict[str, Any]:
    # A word without a value is as good as none.
    properties = {
        word: about if word in required else {"anyOf": [about, {"type": "null"}]}
        for word, about in words.items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _whole(text: str, least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "description": text}


_NAME_OF_MODEL = {"type": "string", "pattern": rf"^({model_words.NAME}|\*)$"}
_SECONDS = {"type": "number", "exclusiveMinimum": 0, "maximum": 86400}
_BACKEND = _closed(
    {
        "name": {"type": "string", "pattern": f"^{names.DNS_LABEL}$", "description": "its name in routes"},
        "type": {"type": "string", "enum": list(TYPES), "description": "what serves it"},
        "model": {"type": "string", "pattern": r"^\S+$", "description": "the model's name there"},
        "url": {"type": "string", "pattern": r"^https?://\S+$", "description": "where it is served"},
        "weight": _whole("its share of the requests, beside those of the others", 0, 1000),
        "apiKey": {
            **_closed(
                {
                    "variable": {"type": "string", "enum": list(PROVIDERS.values())},
                    "secret": {"type": "string"},
                    "key": {"type": "string"},
                }
            ),
            "description": "where its key is: a known variable, or a key of a Secret beside LiteLLM",
        },
        "deploy": {
            **_closed(
                {
                    "gpus": _whole("GPUs of one node", 1, 64),
                    "memoryFraction": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                    "runtimeClass": {"type": "string", "pattern": f"^{names.DNS_LABEL}$"},
                    "volume": {"type": "string", "description": "size of the volume for weights"},
                }
            ),
            "description": "a server of vLLM or SGLang in the cluster",
        },
        "answer": {"type": "string", "description": "what a mock says"},
    },
    "type",
)
MODELS: Mapping[str, Any] = {
    "type": "array",
    "items": _closed(
        {
            "name": {**_NAME_OF_MODEL, "description": "by which clients ask for it"},
            "backends": {"type": "array", "minItems": 1, "items": _BACKEND},
            "contextLength": _whole("tokens of question and answer", 1, 10**9),
            "timeoutSeconds": {**_SECONDS, "description": "for a whole answer"},
            "streamTimeoutSeconds": {**_SECONDS, "description": "for the first word of a stream"},
            "fallbacks": {
                "type": "array",
                "items": _NAME_OF_MODEL,
                "description": "models that are asked where this one fails",
            },
            "requestsPerMinute": _whole("requests of all clients together", 1, 10**9),
            "tokensPerMinute": _whole("tokens of all clients together", 1, 10**9),
        },
        "name",
        "backends",
    ),
}
