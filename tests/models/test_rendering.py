"""Models as LiteLLM's configuration, as servers and as what Ollama pulls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capi_llm.errors import BadInput, PrerequisiteMissing
from capi_llm.models import apps, defaults, litellm, serving
from capi_llm.settings import Backend, KeyRef, Model, Serving, Settings, load


def settings(**more: Any) -> Settings:
    return replace(load(environ={"HOME": "/nowhere"}), **more)


def entries(*models: Model) -> list[dict[str, Any]]:
    return litellm.values(models)["models"]


def test_a_provider_s_model_is_there_only_with_its_key() -> None:
    assert [model.name for model in defaults.models(())] == ["ollama/tinyllama"]
    assert [model.name for model in defaults.models({"OPENAI_API_KEY"})] == [
        "ollama/tinyllama",
        "openai/gpt-3.5-turbo",
    ]
    assert [model.name for model in defaults.models({"DEEPSEEK_API_KEY"})][1:] == ["deepseek/deepseek-chat"]
    plan = apps.plan(settings(), ())
    assert plan.values["litellm-config"]["models"] == [
        {"model_name": "ollama/tinyllama", "litellm_params": {"model": "ollama_chat/tinyllama"}}
    ]
    assert plan.values["ollama-startup-config"] == {"models": ["tinyllama"]}
    assert (plan.brings, plan.spares) == ((), ())


def test_two_backends_share_by_weight_and_have_ids() -> None:
    chat = Model(
        "chat",
        (
            Backend("primary", "vllm", "a/b", weight=90, serving=Serving()),
            Backend("canary", "openai-compatible", "c", "http://w:8000/v1", 10, KeyRef(secret="s", key="k")),
        ),
        context_length=8192,
        timeout=120,
        stream_timeout=9.5,
    )
    first, second = entries(chat)
    assert first == {
        "model_name": "chat",
        "litellm_params": {
            "model": "hosted_vllm/a/b", "api_base": "http://model-chat-primary:8000/v1", "weight": 90,
            "timeout": 120, "stream_timeout": 9.5,
        },
        "model_info": {"id": "chat@primary", "max_input_tokens": 8192},
    }  # fmt: skip
    assert second["litellm_params"]["model"] == "openai/c"
    assert second["litellm_params"]["api_key"] == "os.environ/KEY_S_K"
    assert litellm.values([chat])["routing"]["contextChecks"] is True
    # A backend without requests is an entry of another name: LiteLLM would take it where no other is well.
    gone = replace(chat, backends=(replace(chat.backends[0], weight=0), replace(chat.backends[1], weight=1)))
    assert [(item["model_name"], item["litellm_params"].get("weight")) for item in entries(gone)] == [
        ("chat@primary", None),
        ("chat", 1),
    ]


def test_no_backend_is_shown_the_key_of_another() -> None:
    """LiteLLM sends OPENAI_API_KEY to any address of ``openai/`` without a key of its own."""
    for kind in ("vllm", "sglang", "openai-compatible", "bentoml"):
        (entry,) = entries(Model("a", (Backend(kind, kind, "a", "http://w:8000/v1"),)))
        assert entry["litellm_params"]["model"].startswith("hosted_vllm/")
        assert "api_key" not in entry["litellm_params"]
    (entry,) = entries(Model("a", (Backend("openai", "openai", "gpt-4o"),)))
    assert entry["litellm_params"] == {"model": "openai/gpt-4o", "api_key": "os.environ/OPENAI_API_KEY"}


def test_limits_and_fallbacks() -> None:
    two = Model(
        "two",
        (Backend("a", "mock", "m", weight=2), Backend("b", "mock", "m", weight=1)),
        fallbacks=("one",),
        requests_per_minute=100,
    )
    one = Model("one", (Backend("mock", "mock", "m"),), tokens_per_minute=7)
    values = litellm.values([two, one])
    assert values["routing"] == {"fallbacks": [{"two": ["one"]}], "limits": True, "contextChecks": False}
    assert [item["litellm_params"].get("rpm") for item in values["models"]] == [67, 34, None]
    assert values["models"][2]["litellm_params"]["tpm"] == 7


def test_servers_ollama_and_what_comes_with_them() -> None:
    big = Model(
        "team/Big.Model",
        (Backend("vllm", "vllm", "a/b", serving=Serving(2, 0.45, "nvidia", "80Gi")),),
        context_length=4096,
    )
    small = Model("small", (Backend("sglang", "sglang", "c/d", serving=Serving()),))
    elsewhere = Model("far", (Backend("ollama", "ollama", "x", "http://ollama.far:11434"),))
    plan = apps.plan(settings(models=(big, small, elsewhere), client_keys=True, shared_limits=True), ())
    assert plan.values["vllm"] == {
        "models": [
            {
                "name": "team-big-model", "model": "a/b", "gpus": 2, "contextLength": 4096,
                "memoryFraction": 0.45, "runtimeClassName": "nvidia", "storageSize": "80Gi",
            }
        ]
    }  # fmt: skip
    assert plan.values["sglang"] == {"models": [{"name": "small", "model": "c/d", "gpus": 1}]}
    assert plan.brings == ("vllm", "sglang", "redis", "postgresql")
    assert plan.spares == ("ollama-startup-config", "ollama")
    assert plan.values["litellm"] == {
        "keys": [],
        "networkPolicy": {"backendPorts": [11434]},
        "redis": {"enabled": True},
        "database": {"enabled": True},
    }
    assert plan.values["litellm-config"]["redis"] == {"enabled": True}
    assert serving.address(small, small.backends[0]) == "http://model-small:30000/v1"


def test_no_service_is_called_vllm() -> None:
    named = Model("vllm", (Backend("vllm", "vllm", "a", serving=Serving()),))
    assert serving.address(named, named.backends[0]) == "http://model-vllm:8000/v1"


def test_servers_of_one_name_are_refused() -> None:
    models = [
        Model(name, (Backend("vllm", "vllm", "a", serving=Serving(), where=f"f.yaml:{n}: models[{n}]"),))
        for n, name in enumerate(("a/b", "a.b"))
    ]
    with pytest.raises(BadInput, match=r"f\.yaml:1: .*its server would be called model-a-b") as caught:
        serving.servers(models)
    assert "f.yaml:0" in caught.value.why
    assert caught.value.fix


def test_keys_that_would_be_one_variable_are_refused() -> None:
    models = tuple(
        Model(
            name,
            (
                Backend("openai", "openai", "m", key=KeyRef(secret=secret, key="k"), where="f.yaml:7"),
                Backend("mock", "mock", "m"),
            ),
        )
        for name, secret in (("a", "my-keys"), ("b", "my.keys"))
    )
    with pytest.raises(BadInput, match=r"f\.yaml:7: the key of Secret 'my.keys'") as caught:
        apps.plan(settings(models=models), ())
    assert "another name" in caught.value.fix


def test_models_said_twice_are_refused() -> None:
    twice = settings(models=(), app_values={"litellm-config": {"models": []}})
    with pytest.raises(BadInput, match="both say the models") as caught:
        apps.plan(twice, ())
    assert caught.value.fix == "keep one of them"


def test_a_provider_s_key_that_nobody_has_is_missed() -> None:
    chat = Model("chat", (Backend("openai", "openai", "gpt-4o", where="f.yaml:3: models[0].backends[0]"),))
    apps.require_keys([chat], {"OPENAI_API_KEY"})
    with pytest.raises(PrerequisiteMissing, match="OPENAI_API_KEY is missing") as caught:
        apps.require_keys([chat], ())
    assert "f.yaml:3" in caught.value.why
    assert "environment" in caught.value.fix


def test_the_example_of_the_page(tmp_path: Path) -> None:
    """One alias is served by DeepSeek in the cluster, the other by OpenAI, with the first as fallback."""
    page = (Path(__file__).parent.parent.parent / "docs/models.md").read_text()
    _, _, rest = page.partition("```yaml file=two-aliases.yaml\n")
    path = tmp_path / "two-aliases.yaml"
    path.write_text(rest.partition("```")[0])
    models = load(path, environ={"HOME": str(tmp_path)}).models
    assert models is not None
    values = litellm.values(models)
    assert {item["model_name"]: item["litellm_params"]["model"] for item in values["models"]} == {
        "private": "ollama_chat/deepseek-r1:1.5b",
        "public": "openai/gpt-4o-mini",
    }
    assert values["routing"]["fallbacks"] == [{"public": ["private"]}]
