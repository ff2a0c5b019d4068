"""What LiteLLM is run with: its configuration and key, from the objects of the cluster. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from capi_llm.fields.addresses import loopback
from capi_llm.kube.resources import Object

NAMESPACE = "llm"
DEPLOYMENT = "litellm"
FILE = "config.yaml"
KEY_VARIABLE = "LITELLM_MASTER_KEY"

_OF_MODEL = (
    "model", "weight", "order", "rpm", "tpm", "timeout", "stream_timeout", "max_parallel_requests", "num_ctx",
)  # fmt: skip
_OF_ROUTER = (
    "routing_strategy", "num_retries", "timeout", "allowed_fails", "cooldown_time", "model_group_alias",
    "fallbacks", "context_window_fallbacks", "enable_pre_call_checks", "optional_pre_call_checks",
)  # fmt: skip
_OF_LITELLM = ("request_timeout", "drop_params", "num_retries", "fallbacks", "json_logs")
"""What is taken over: nothing that would lead to a provider, a database, a cache or a log collector."""

_OF_THIS_MACHINE = ("ollama/", "ollama_chat/", "hosted_vllm/")
"""LiteLLM's providers that are servers of one's own: on loopback such a one is asked, without a key."""

Find = Callable[[str], Object | None]


@dataclass(frozen=True)
class Wanted:
    """LiteLLM's configuration, as the text of a file, and its master key."""

    config: str
    key: str = field(repr=False)


def wanted(deployment: Object | None, config_map: Find, secret: Find) -> Wanted | str:
    """What to run LiteLLM with; in words, why it is not to run.

    ``config_map`` and ``secret`` find objects by name in the Deployment's namespace, which it names.
    """
    if deployment is None:
        return f"there is no Deployment {NAMESPACE}/{DEPLOYMENT}"
    if deployment["spec"].get("replicas", 1) == 0:
        return "it is scaled to zero"
    pod = deployment["spec"]["template"]["spec"]
    maps = [item["configMap"]["name"] for item in pod.get("volumes") or () if item.get("configMap")]
    texts = [((config_map(name) or {}).get("data") or {}).get(FILE) for name in maps]
    text = next(filter(None, texts), "")
    if not text:
        return f"no ConfigMap of the Deployment has {FILE}"
    key = _key(pod, secret)
    if not key:
        return f"the Secret with {KEY_VARIABLE} is not there, or has no such key"
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return f"{FILE} is no YAML: {str(error).splitlines()[0]}"
    if not isinstance(given, dict):
        return f"{FILE} is no mapping"
    return Wanted(json.dumps(simulated(given), indent=2) + "\n", key)


def simulated(given: Mapping[str, Any]) -> dict[str, Any]:
    """LiteLLM's configuration ``given`` with answers that are simulated, and nothing that leads elsewhere.

    Only a model that is served on this machine's loopback answers itself.
    """
    models = given.get("model_list")
    models = models if isinstance(models, list) else []
    return {
        "model_list": [_model(item) for item in models if isinstance(item, dict)],
        "router_settings": _some(given.get("router_settings"), _OF_ROUTER),
        "litellm_settings": _some(given.get("litellm_settings"), _OF_LITELLM) | {"telemetry": False},
        "general_settings": {"master_key": f"os.environ/{KEY_VARIABLE}"},
    }


def answer(model: str) -> str:
    """What ``model`` says, whatever it is asked."""
    return f"This answer is simulated by capi-llm's sandbox: there is no model {model}."


def _model(given: Mapping[str, Any]) -> dict[str, Any]:
    name = str(given.get("model_name", ""))
    params = _some(given.get("litellm_params"), _OF_MODEL)
    # By its id an entry is asked for, and told apart from the others of its name.
    info = _some(given.get("model_info"), ("id", "max_input_tokens"))
    here = _on_this_machine(given.get("litellm_params"))
    # Some providers' clients refuse to be made without a key, or ask at an address of their own.
    where = {"api_base": here} if here else {"api_base": "http://127.0.0.1:9", "mock_response": answer(name)}
    return {
        "model_name": name,
        "model_info": info,
        "litellm_params": params | {"api_key": "simulated"} | where,
    }


def _on_this_machine(params: Any) -> str:
    """Address of a model's own server, where that is on loopback; otherwise nothing."""
    if not isinstance(params, dict) or "mock_response" in params:
        return ""
    url = str(params.get("api_base", ""))
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    own = str(params.get("model", "")).startswith(_OF_THIS_MACHINE)
    return url if own and loopback(host) else ""


def _some(given: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {key: given[key] for key in names if key in given} if isinstance(given, dict) else {}


def _key(pod: Object, secret: Find) -> str:
    for container in pod.get("containers") or ():
        for item in container.get("env") or ():
            ref = (item.get("valueFrom") or {}).get("secretKeyRef")
            if item["name"] == KEY_VARIABLE and ref:
                data = (secret(ref["name"]) or {}).get("data") or {}
                try:
                    return base64.b64decode(data.get(ref["key"], ""), validate=True).decode()
                except (binascii.Error, UnicodeDecodeError):
                    return ""
    return ""
