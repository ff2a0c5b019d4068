"""LiteLLM's configuration from the objects of a cluster."""

from __future__ import annotations

import configparser
import json
from pathlib import Path
from typing import Any

from capi_llm import versions
from capi_llm.gateway.model import Wanted, answer, simulated, wanted

GIVEN = """\
model_list:
- model_name: fast
  litellm_params: {model: ollama_chat/tinyllama, api_base: "http://ollama.llm", weight: 9, rpm: 10}
- model_name: openai/gpt
  litellm_params: {model: openai/gpt, api_key: sk-real}
router_settings: {routing_strategy: simple-shuffle, num_retries: 2, redis_host: redis, redis_password: p}
litellm_settings: {drop_params: true, callbacks: [langfuse], cache: true, cache_params: {type: redis}}
general_settings: {master_key: sk-written-here, database_url: "postgres://db"}
environment_variables: {OPENAI_API_KEY: sk-real}
"""


def deployment(**spec: Any) -> dict[str, Any]:
    env = {"name": "LITELLM_MASTER_KEY", "valueFrom": {"secretKeyRef": {"name": "own", "key": "k"}}}
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "config", "configMap": {"name": "of-mine"}}]
    pod = {"containers": [{"env": [{"name": "A", "value": "b"}, env]}], "volumes": volumes}
    return {"spec": {"replicas": 1, "template": {"spec": pod}} | spec}


OBJECTS = {"of-mine": {"data": {"config.yaml": GIVEN}}, "own": {"data": {"k": "c2stb25l"}}}


def test_models_and_routing_stay_and_nothing_leads_elsewhere() -> None:
    found = wanted(deployment(), OBJECTS.get, OBJECTS.get)
    assert isinstance(found, Wanted)
    assert found.key == "sk-one"
    assert "sk-one" not in repr(found)
    config = json.loads(found.config)
    fast, gpt = config["model_list"]
    assert (fast["model_name"], gpt["model_name"]) == ("fast", "openai/gpt")
    params = fast["litellm_params"]
    assert (params["model"], params["weight"], params["rpm"]) == ("ollama_chat/tinyllama", 9, 10)
    assert params["mock_response"] == answer("fast")
    assert "simulated" in answer("fast")
    assert config["router_settings"] == {"routing_strategy": "simple-shuffle", "num_retries": 2}
    assert config["litellm_settings"] == {"drop_params": True, "telemetry": False}
    assert config["general_settings"] == {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    for word in ("sk-", "redis", "postgres", "langfuse", "ollama.llm", "environment_variables"):
        assert word not in found.config


def test_a_configuration_of_another_shape_has_no_models() -> None:
    for given in ({}, {"model_list": 1, "router_settings": []}, {"model_list": ["a"]}):
        assert simulated(given)["model_list"] == []


def test_a_model_on_loopback_is_asked_itself() -> None:
    def entry(**params: Any) -> dict[str, Any]:
        (found,) = simulated({"model_list": [{"model_name": "m", "litellm_params": params}]})["model_list"]
        asked: dict[str, Any] = found["litellm_params"]
        return asked

    for model in ("ollama_chat/tiny", "hosted_vllm/tiny"):
        for url in ("http://127.0.0.1:11434", "http://[::1]:80/v1", "http://localhost:8000/v1"):
            found = entry(model=model, api_base=url, api_key="os.environ/OPENAI_API_KEY", num_ctx=512)
            assert found == {"model": model, "api_base": url, "api_key": "simulated", "num_ctx": 512}
    for params in (
        {"model": "ollama_chat/tiny", "api_base": "http://127.0.0.1.example:1"},
        {"model": "ollama_chat/tiny", "api_base": "http://ollama.llm"},
        {"model": "ollama_chat/tiny", "api_base": "http://[127.0.0.1"},
        {"model": "ollama_chat/tiny"},
        {"model": "openai/gpt", "api_base": "http://127.0.0.1:1"},
        {"model": "hosted_vllm/m", "api_base": "http://127.0.0.1:9/v1", "mock_response": "I am the mock"},
    ):
        found = entry(**params)
        assert (found["api_base"], found["mock_response"]) == ("http://127.0.0.1:9", answer("m"))


def test_it_does_not_run_without_deployment_configuration_or_key() -> None:
    def why(obj: Any, **other: Any) -> str:
        there = OBJECTS | other
        found = wanted(obj, there.get, there.get)
        assert isinstance(found, str)
        return found

    assert "no Deployment" in why(None)
    assert "zero" in why(deployment(replicas=0))
    assert "ConfigMap" in why(deployment(), **{"of-mine": None})
    assert "ConfigMap" in why(deployment(), **{"of-mine": {"data": {"other": ""}}})
    for secret in (None, {}, {"data": {"k": "%"}}, {"data": {"other": "c2stb25l"}}):
        assert "Secret" in why(deployment(), own=secret)
    for text in ("a: [", "- a", "# none"):
        assert "config.yaml" in why(deployment(), **{"of-mine": {"data": {"config.yaml": text}}})


def test_the_extra_has_the_pinned_version() -> None:
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[2] / "setup.cfg")
    assert f"litellm[proxy]=={versions.LITELLM}" in config["options.extras_require"]["gateway"]
